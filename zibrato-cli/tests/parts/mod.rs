//! The parts of Zibrato as real processes, applications that measure, and Librato's end.
#![allow(dead_code, unused_imports, unreachable_pub, reason = "not every test needs all of it")]

mod application;
mod process;
mod scene;

use std::time::{Duration, Instant};

pub use application::{Application, Ended, Plan, Totals};
pub use process::Process;
pub use scene::{Broker, Scene, Worker, free_ports};

/// Much longer than anything here takes, also where other tests keep the machine busy.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until something is so; `Err` says what is not yet.
pub fn until(what: &str, mut so: impl FnMut() -> Result<(), String>) {
    let began = Instant::now();
    while let Err(why) = so() {
        assert!(began.elapsed() < PATIENCE, "{what}: {why} after {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits for up to `most`, so that what comes next comes at a random moment.
pub fn a_moment(most: Duration) {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one(()) >> 32;
    std::thread::sleep(most.mul_f64(random as f64 / f64::from(u32::MAX)));
}
