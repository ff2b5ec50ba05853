//! The engine of Zibrato: cells, registry, histogram, frames and merging, without an async runtime.
//!
//! Data flows one way, and the modules follow it: a call site writes into a cell, the [`frame`]
//! module turns what was read from the cells into bytes, and whoever receives frames merges them.

pub mod ask;
pub mod callback;
pub mod cell;
pub mod clock;
pub mod frame;
pub mod histogram;
pub mod ledger;
pub mod level;
pub mod limits;
mod per_process;
pub mod publish;
pub mod registry;
pub mod trace;

pub use per_process::PerProcess;
