//! The hot paths, each in a function of its own, for `cargo xtask instructions` to run under callgrind.
//!
//! Each is warmed up, run, and run twice as long. The difference of the last two is what the events cost and
//! nothing else: neither what a first event costs, nor the call of the function. It is found by the callers' names.

mod cases;

use std::hint::black_box;

use cases::{CASES, Case};

/// Events of one run. What one event out of so many does, such as widen a histogram, does not show.
const EVENTS: u64 = 50_000;

fn main() {
    zibrato_core::registry::set_levels("*,!debug".parse().unwrap_or_default());
    println!("events\t{EVENTS}");
    for case in CASES {
        warm_up(case);
        once(case);
        twice(case);
        println!("case\t{}\t{}\t{}", case.function, case.floor, case.title);
    }
}

#[inline(never)]
fn warm_up(case: &Case) {
    (case.run)(black_box(EVENTS / 5));
    // So that the call is not the last thing done, and a jump.
    black_box(());
}

#[inline(never)]
fn once(case: &Case) {
    (case.run)(black_box(EVENTS));
    black_box(());
}

#[inline(never)]
fn twice(case: &Case) {
    (case.run)(black_box(2 * EVENTS));
    black_box(());
}
