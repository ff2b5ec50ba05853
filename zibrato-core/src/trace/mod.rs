//! Tracing: rows that are marked, and what every hop tells of them.
//!
//! A metric is marked at its call site, through its handle, or by a pattern of its name. Whenever it has changed, the
//! row that says so has a number, and every hop that handles that row tells of it: an [`Event`]. Events travel as points
//! at the level [`mtrace`](crate::level::TRACE), in an instance of their own, the hop's [`Journal`].

mod event;
mod journal;
mod patterns;

pub use event::{Event, Hop, Mark, Trace, Verdict};
pub use journal::Journal;
pub use patterns::Patterns;
