//! The kit for Zibrato workers: ledger, settling through an outbox, retries, the [`Backend`] trait.
//!
//! Who writes a worker implements [`Backend`] for the service that the measurements go to; everything else is
//! here and the same for every worker: [options](Options), subscribing, merging, settling, the state directory with
//! its outbox, retries, dead letters, `--dry-run`, shards, and a clean end.
//!
//! ```no_run
//! use clap::Parser;
//! use zibrato_worker::{Accepted, Backend, BackendError, Batch, Options, Value, main_with};
//!
//! struct Lines;
//!
//! impl Backend for Lines {
//!     const NAME: &'static str = "lines";
//!
//!     async fn send(&mut self, batch: &Batch) -> Result<Accepted, BackendError> {
//!         print!("{}", self.render(batch));
//!         Ok(Accepted::All)
//!     }
//!
//!     fn render(&self, batch: &Batch) -> String {
//!         let increases = batch.measurements.iter().filter_map(|m| match &m.value {
//!             Value::Counter(increase) => Some(format!("{} {increase}\n", m.series.name)),
//!             _ => None,
//!         });
//!         increases.collect()
//!     }
//! }
//!
//! #[derive(Parser)]
//! struct Arguments {
//!     #[command(flatten)]
//!     worker: Options,
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     main_with(Arguments::parse().worker, Lines)
//! }
//! ```
//!
//! What a worker does, and why its totals are exact, is in [`Settler`] and [`Sender`], which can be driven by hand;
//! [`run`] puts sockets and timers around them. The feature `testing` adds backends for tests.

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
