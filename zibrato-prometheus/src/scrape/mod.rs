//! The scrape endpoint: what was sent last, for Prometheus to fetch.

mod backend;
mod options;
mod server;
mod snapshot;
mod store;

pub use backend::Prometheus;
pub use options::Options;
