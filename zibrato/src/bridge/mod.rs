//! Bridges from other facades, each behind a feature of its name.
//!
//! Whoever is instrumented already, with [`metrics`](https://docs.rs/metrics) or
//! [`tracing`](https://docs.rs/tracing), reports through Zibrato with one call at the start of `main`, at levels that
//! are chosen there by target and by name. The features imply `enable`, not `publish`: whether and where to anything is
//! sent is as for everything else, see the crate's documentation.

mod append_map;
mod error;
#[cfg(feature = "metrics")]
pub mod metrics;
mod rules;
#[cfg(feature = "tracing")]
pub mod tracing;

pub use error::BridgeError;
