//! The memory of counters and timers, for each thread that uses them. What is thread-local is not allocated, so it
//! is added: eight bytes for each call site.

#[path = "../sites.rs"]
mod sites;

use peak_alloc::PeakAlloc;
use sites::{SITES, names, pass};
use zibrato_core::registry::{self, Counter, Timer};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const TIMERS: usize = 64;
const DURATIONS: u32 = 10_000;

fn main() {
    registry::set_installed(true);
    let counters: Vec<Counter> =
        names("handle", SITES).iter().map(|name| zibrato::counter(name).handle()).collect();
    let timers: Vec<Timer> =
        names("timer", TIMERS).iter().map(|name| zibrato::timer(name).handle()).collect();
    // The metrics are made here, so that the thread pays only for its part.
    let once = || {
        pass();
        counters.iter().for_each(|counter| counter.add(1));
        timers.iter().for_each(time);
    };
    once();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            zibrato::count!("the.first");
            let before = ALLOCATED.current_usage();
            pass();
            let sites = ALLOCATED.current_usage();
            counters.iter().for_each(|counter| counter.add(1));
            let handles = ALLOCATED.current_usage();
            timers.iter().for_each(time);
            let all = ALLOCATED.current_usage();
            println!("memory.site {}", (sites - before) as f64 / SITES as f64 + 8.0);
            println!("memory.handle {}", (handles - sites) as f64 / SITES as f64);
            println!("memory.timer {}", (all - handles) as f64 / TIMERS as f64);
        });
    });
}

/// Durations from a microsecond to a millisecond, as many in each octave.
fn time(timer: &Timer) {
    for i in 0..DURATIONS {
        let share = f64::from(i) / f64::from(DURATIONS);
        timer.record_nanos((1e3 * 1e3f64.powf(share)) as u64);
    }
}
