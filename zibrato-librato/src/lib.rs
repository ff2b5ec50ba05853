//! The Zibrato worker that flushes to Librato-compatible services.
//!
//! [`Librato`] is the [`Backend`](zibrato_worker::Backend); [`Options`] are its part of the command line. The feature
//! `endpoint` adds `endpoint`, a local service in Librato's place that checks whatever it is sent.
//!
//! How Zibrato's metrics become Librato's measurements is described in `docs/librato.md`.

mod backend;
#[cfg(feature = "endpoint")]
pub mod endpoint;
mod error;
mod limits;
mod naming;
mod number;
mod options;
mod payload;
mod program;
mod split;
mod token;
mod verdict;

pub use backend::Librato;
pub use error::Error;
pub use options::{Api, Options};
pub use token::Token;
