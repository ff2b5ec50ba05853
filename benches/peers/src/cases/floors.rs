//! What it costs at least.

use std::cell::Cell;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use crate::case::{Case, Group, repeat};
use crate::tsc;

pub(crate) const TWO_TICKS: &str = "two raw reads of the time stamp counter";
pub(crate) const TWO_INSTANTS: &str = "`Instant::now`, then `elapsed`";
pub(crate) const STORE: &str = "relaxed store to one global word";

thread_local!(static OWN: Cell<u64> = const { Cell::new(0) });
static WORD: AtomicU64 = AtomicU64::new(0);

#[inline(never)]
fn empty() {}

pub(crate) fn cases() -> Vec<Case> {
    let counter = |name, run: fn(usize, u64)| Case::floor(Group::Counters, name, run);
    let timer = |name, run: fn(usize, u64)| Case::floor(Group::Timers, name, run);
    let gauge = |name, run: fn(usize, u64)| Case::floor(Group::Gauges, name, run);
    vec![
        counter("empty loop", |_, n| repeat(n, |_| {})),
        counter("call of an empty function", |_, n| repeat(n, |_| empty())),
        counter("thread-local += 1", |_, n| repeat(n, |_| OWN.set(black_box(OWN.get()) + 1))),
        timer(TWO_TICKS, |_, n| {
            repeat(n, |_| {
                let start = tsc::read();
                black_box(tsc::read().wrapping_sub(start));
            });
        }),
        timer(TWO_INSTANTS, |_, n| {
            repeat(n, |_| {
                let start = Instant::now();
                black_box(start.elapsed());
            });
        }),
        gauge("empty loop, integer to float", |_, n| {
            repeat(n, |i| {
                black_box(i as f64);
            });
        }),
        // Read at the end, without which nobody needs the word.
        gauge(STORE, |_, n| repeat(n, |i| WORD.store((i as f64).to_bits(), Relaxed)))
            .some(|| f64::from_bits(WORD.load(Relaxed)) as u64),
    ]
}
