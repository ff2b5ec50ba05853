//! Remote write 1.0: what was measured, sent to Prometheus or whatever speaks its protocol.

mod backend;
mod known;
mod messages;
mod options;
mod request;
mod verdict;

pub use backend::RemoteWrite;
pub use options::{Histograms, Options};
