//! The Zibrato worker that sends to StatsD daemons.
//!
//! [`Statsd`] is the [`Backend`](zibrato_worker::Backend); [`Options`] are its part of the command line. How Zibrato's metrics
//! become lines, what is exact and what cannot be, is described in `docs/statsd.md`.

mod address;
mod backend;
mod datagrams;
mod encode;
mod error;
mod naming;
mod number;
mod options;
mod packet;
mod program;
mod samples;
mod stream;
mod template;

pub use address::{Address, BadAddress};
pub use backend::Statsd;
pub use error::Error;
pub use options::{Delivery, Dialect, Options, Timers, Updown};
pub use template::{BadTemplate, Template};
