//! The kit for Zibrato workers: ledger, settling through an outbox, retries, the [`Backend`] trait.
//!
//! Who writes a worker implements [`Backend`] for the service that the measurements go to, and [`BackendOptions`] for
//! what it can be told; everything else is here and the same for every worker: [options](Options), subscribing,
//! merging, settling, the state directory with its outbox, retries, dead letters, `--dry-run`, shards, and a clean end.
//!
//! ```no_run
//! use zibrato_worker::{
//!     Accepted, Backend, BackendError, BackendOptions, Batch, OpenError, Options, Value, main_of,
//! };
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
//! #[derive(clap::Args)]
//! #[group(skip)]
//! struct LinesOptions {}
//!
//! impl BackendOptions for LinesOptions {
//!     type Backend = Lines;
//!     const ABOUT: &'static str = "Print what counters increase by";
//!     const EXAMPLES: &'static str = "--flush 1";
//!
//!     fn open(self, _: &Options) -> Result<Lines, OpenError> {
//!         Ok(Lines)
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     main_of::<LinesOptions>()
//! }
//! ```
//!
//! What a worker does, and why its totals are exact, is in [`Settler`] and [`Sender`], which can be driven by hand;
//! [`run`] puts sockets and timers around them. The feature `testing` adds backends for tests.

mod account;
mod admin;
mod aggregate;
mod asking;
mod backend;
mod backend_options;
mod backoff;
mod batch;
mod complaints;
mod dead_letter;
pub mod decimal;
mod dry_run;
mod error;
mod line_file;
mod metrics;
mod options;
mod own;
mod preview;
mod program;
mod run;
mod sender;
mod settle;
mod shape;
mod shard;
mod state;
mod status;
mod steady;
mod subscription;
#[cfg(feature = "testing")]
pub mod testing;
mod totals;
mod trace;
mod vitals;

pub use account::Amount;
pub use admin::Admin;
pub use asking::Asking;
pub use backend::{Accepted, Backend, BackendError, Temporality};
pub use backend_options::{Arguments, BackendOptions, OpenError, examples, main_of};
pub use batch::{Batch, GaugeSummary, Measurement, Series, Statistics, Summary, Value};
pub use error::Error;
pub use line_file::LineFile;
pub use metrics::METRICS;
pub use options::Options;
pub use preview::{Preview, preview};
pub use program::{main_with, notify, set_up_logging, stop_signal};
pub use run::{run, run_tapped};
pub use sender::{Sender, Sent};
pub use settle::{Outcome, Rules, Settler};
pub use shape::{AddedTag, Rename, Selector, Shape};
pub use shard::Shard;
pub use state::{Accounts, Damage, Resharded, Snapshot, SnapshotBatch, SnapshotOrigin, State, reshard};
pub use status::{Figures, Status};
pub use subscription::{Subscription, Tap};
/// What a metric is, and a sum that keeps whole increments exact.
pub use zibrato_core::frame::{Kind, Total};
/// How values are distributed.
pub use zibrato_core::histogram::Histogram;
/// What of tracing belongs to a measurement.
pub use zibrato_core::trace::Trace;
