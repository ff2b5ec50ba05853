//! The Zibrato worker that sends to Graphite, in the plain text that carbon takes.
//!
//! [`Graphite`] is the [`Backend`](zibrato_worker::Backend), [`Options`] are its part of the command line. What metrics become
//! is described in `docs/graphite.md`, how this crate was written in `docs/write-a-backend.md`.

mod address;
mod backend;
mod lines;
mod naming;
mod options;
mod send;

pub use address::{Address, BadAddress};
pub use backend::Graphite;
pub use options::{Options, Tags};
