//! For tests: a backend that keeps what it accepted, and measurements for backends that are tested themselves.

mod measurements;
mod memory;

pub use measurements::{
    cleaned, counter, distribution, gauge, later, measurement, point, send, summary, tagged, timer, updown,
};
pub use memory::{Act, Memory};
