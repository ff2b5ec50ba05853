//! The kit for Zibrato workers: ledger, settling through an outbox, retries, the [`Backend`] trait.
//!
//! Who writes a worker implements [`Backend`] for the service that the measurements go to; everything else is
//! here and the same for every worker.

mod backend;
mod batch;

pub use backend::{Accepted, Backend, BackendError};
pub use batch::{Batch, GaugeSummary, Measurement, Series, Statistics, Summary, Value};
/// What a metric is, and a sum that keeps whole increments exact.
pub use zibrato_core::frame::{Kind, Total};
/// How values are distributed.
pub use zibrato_core::histogram::Histogram;
