//! The kit for Zibrato workers: ledger, settling through an outbox, retries, the [`Backend`] trait.
//!
//! Who writes a worker implements [`Backend`] for the service that the measurements go to; everything else is
//! here and the same for every worker.

mod aggregate;
mod backend;
mod backoff;
mod batch;
mod dead_letter;
mod error;
mod sender;
mod settle;
mod shard;
mod state;
mod status;
#[cfg(feature = "testing")]
pub mod testing;

pub use backend::{Accepted, Backend, BackendError};
pub use batch::{Batch, GaugeSummary, Measurement, Series, Statistics, Summary, Value};
pub use error::Error;
pub use sender::{Sender, Sent};
pub use settle::{Outcome, Rules, Settler};
pub use shard::Shard;
pub use state::State;
pub use status::{Figures, Status};
/// What a metric is, and a sum that keeps whole increments exact.
pub use zibrato_core::frame::{Kind, Total};
/// How values are distributed.
pub use zibrato_core::histogram::Histogram;
