//! What one event costs at the call site.

use std::cell::Cell;
use std::hint::black_box;
use std::sync::OnceLock;
use std::time::Instant;

use zibrato::{Counter, Gauge, Timer, count_me, time_me};

use crate::round::{Case, measure};

#[count_me(name = "bench.count")]
#[inline(never)]
fn counted() {}

#[time_me(name = "bench.time")]
#[inline(never)]
fn timed() {}

#[count_me(level = "debug", name = "bench.off")]
#[inline(never)]
fn count_off() {}

#[inline(never)]
fn plain() {}

fn counter() -> &'static Counter {
    static HANDLE: OnceLock<Counter> = OnceLock::new();
    HANDLE.get_or_init(|| zibrato::counter("bench.handle").tag("known", "late").handle())
}

fn timer() -> &'static Timer {
    static HANDLE: OnceLock<Timer> = OnceLock::new();
    HANDLE.get_or_init(|| zibrato::timer("bench.timer").handle())
}

fn gauge() -> &'static Gauge {
    static HANDLE: OnceLock<Gauge> = OnceLock::new();
    HANDLE.get_or_init(|| zibrato::gauge("bench.statistics").with_statistics().handle())
}

macro_rules! times {
    ($body:expr) => {
        |n| {
            for i in 0..n {
                black_box(i);
                $body(i);
            }
        }
    };
}

thread_local!(static FLOOR: Cell<u64> = const { Cell::new(0) });

const CASES: &[Case] = &[
    Case { name: "empty loop", run: times!(|_| {}) },
    Case { name: "call of an empty function", run: times!(|_| plain()) },
    Case { name: "`#[count_me]`", run: times!(|_| counted()) },
    Case { name: "`#[count_me]`, level off", run: times!(|_| count_off()) },
    Case { name: "`count!` in place", run: times!(|_| zibrato::count!("bench.in_place")) },
    Case { name: "`count!` of a run-time value", run: times!(|i| zibrato::count!("bench.value", i)) },
    Case { name: "`count!` of a fraction", run: times!(|i| zibrato::count!("bench.float", i as f64 * 0.5)) },
    Case { name: "counter handle", run: times!(|_| counter().add(1)) },
    Case { name: "floor: thread-local += 1", run: times!(|_| FLOOR.set(black_box(FLOOR.get()) + 1)) },
    Case { name: "`gauge!`", run: times!(|i| zibrato::gauge!("bench.gauge", i as f64)) },
    Case { name: "gauge handle with statistics", run: times!(|i| gauge().set(i as f64)) },
    Case { name: "`record!`", run: times!(|i| zibrato::record!("bench.record", i & 0xfff)) },
    Case { name: "`#[time_me]`", run: times!(|_| timed()) },
    Case { name: "timer handle, duration known", run: times!(|i| timer().record_nanos(i & 0xffff)) },
    Case {
        name: "floor: `Instant::now` twice",
        run: times!(|_| black_box(Instant::now().duration_since(black_box(Instant::now())))),
    },
    Case {
        name: "handle by name, tag and lock",
        run: times!(|_| zibrato::counter("bench.lookup").tag("known", "late").handle().add(1)),
    },
];

pub(crate) fn run(rounds: usize) {
    zibrato_core::registry::set_levels("*,!debug".parse().unwrap_or_default());
    let (one, two) = (measure(CASES, rounds, 1), measure(CASES, rounds, 2));
    println!("### One event, in nanoseconds (minimum / median of {rounds} rounds)\n");
    println!("| event | one thread | two threads, same metric |\n|---|---|---|");
    for ((case, one), two) in CASES.iter().zip(one).zip(two) {
        println!(
            "| {} | {:.2} / {:.2} | {:.2} / {:.2} |",
            case.name, one.min, one.median, two.min, two.median
        );
    }
    println!();
}
