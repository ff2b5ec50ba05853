//! Cells: where a call site's totals live until somebody reads them.
//!
//! A cell belongs to one thread, which writes it with plain relaxed loads and stores; the reader sums the cells
//! of all threads under the registry's lock and never resets one. What a thread leaves behind when it ends is
//! folded into a retired total under the same lock, so a total neither misses nor doubles anything.
//!
//! This is the only module with `unsafe` code: cells are reached through raw pointers, because a reference
//! counter or a lock on the way would cost more than the whole measurement.
#![allow(unsafe_code)]

pub(crate) mod counter;
pub mod fork;
mod gauge;
mod local;
mod number;
mod owned;
mod roster;
mod sampled;
mod spread;
mod thread;
mod window;
mod word;

pub(crate) use gauge::{GaugeCell, GaugeWord};
pub(crate) use local::{Local, local};
pub(crate) use number::NumberCell;
pub use roster::Roster;
pub use sampled::SampledSlot;
pub(crate) use spread::{Gathered, NoRoom, Order, Orphans, SpreadCell};
pub use thread::SpreadSlot;
pub(crate) use thread::{Thread, ThreadCells, current, enlist, own_number, own_spread, with_registry};
pub use word::{Word, WordCell};
