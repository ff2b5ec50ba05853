//! The Zibrato worker that writes line protocol to InfluxDB 1, 2 and 3, and to what takes the same, as VictoriaMetrics
//! does.
//!
//! [`Influx`] is the [`Backend`](zibrato_worker::Backend); [`Options`] are its part of the command line.
//!
//! How Zibrato's metrics become points is described in `docs/influx.md`.

mod backend;
mod error;
mod line;
mod naming;
mod options;
mod verdict;

pub use backend::Influx;
pub use error::Error;
pub use options::{Consistency, Options, Precision, SourceTag};
