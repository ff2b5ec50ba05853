//! The lines of old Zibrato publishers, and the totals that they become.
//!
//! An old line is `level|type|name|value|timestamp|source`. [`parse`] reads one; a [`Gateway`] adds lines up into
//! the frames of an instance of its own.

mod gateway;
mod line;

pub use gateway::Gateway;
pub use line::{BadLine, Increment, Line, Reading, parse};
