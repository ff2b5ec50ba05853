//! The Zibrato workers for Prometheus: one that is scraped, one that pushes by remote write.
//!
//! [`scrape::Prometheus`] and [`remote_write::RemoteWrite`] are the [`Backend`](zibrato_worker::Backend)s;
//! [`scrape::Options`] and [`remote_write::Options`] are their parts of the command line. Both tell totals, as Prometheus wants
//! them: what the worker's ledger has added up over all programs, also those that have ended.
//!
//! How Zibrato's metrics become Prometheus' series is described in `docs/prometheus.md`.

mod buckets;
mod error;
mod exposition;
mod family;
mod naming;
pub mod remote_write;
pub mod scrape;
mod seconds;

pub use buckets::{Bounds, Classic};
pub use error::Error;
