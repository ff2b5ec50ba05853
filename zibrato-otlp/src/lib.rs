//! The Zibrato worker that sends OTLP over HTTP, to collectors and hosted services.
//!
//! [`Otlp`] is the [`Backend`](zibrato_worker::Backend), [`Options`] are its part of the command line.
//!
//! How Zibrato's metrics become OpenTelemetry's is described in `docs/otlp.md`.

mod backend;
mod error;
mod metric;
mod options;
mod point;
mod request;
mod resource;
mod text;
mod verdict;

pub use backend::Otlp;
pub use error::Error;
pub use options::{Attribute, Compression, Options, TemporalityOption, TimerUnit};
