//! The kit for Zibrato workers: ledger, settling through an outbox, retries, the [`Backend`] trait.
//!
//! Who writes a worker implements [`Backend`] for the service that the measurements go to; everything else is
//! here and the same for every worker.

mod aggregate;
mod asking;
mod backend;
mod backoff;
mod batch;
mod complaints;
mod dead_letter;
mod dry_run;
mod error;
mod options;
mod own;
mod program;
mod run;
mod sender;
mod settle;
mod shard;
mod state;
mod status;
#[cfg(feature = "testing")]
pub mod testing;

pub use asking::Asking;
pub use backend::{Accepted, Backend, BackendError};
pub use batch::{Batch, GaugeSummary, Measurement, Series, Statistics, Summary, Value};
pub use error::Error;
pub use options::Options;
pub use program::{main_with, stop_signal};
pub use run::run;
pub use sender::{Sender, Sent};
pub use settle::{Outcome, Rules, Settler};
pub use shard::Shard;
pub use state::{Resharded, State, reshard};
pub use status::{Figures, Status};
/// What a metric is, and a sum that keeps whole increments exact.
pub use zibrato_core::frame::{Kind, Total};
/// How values are distributed.
pub use zibrato_core::histogram::Histogram;
