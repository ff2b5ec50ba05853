//! The clock under threads that move from core to core, for as long as wanted.
//!
//! Each section is timed by Zibrato between two timings of the system's clock, one inside the other, so what it
//! measures has a lower and an upper bound however busy the machine is.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use zibrato::testing::capture;
use zibrato_core::{clock, registry};

/// Times sections that begin on one core and end on another, and compares with the system's clock.
#[derive(Debug, Parser)]
#[command(version, about, after_help = "Example: cargo xtask soak --seconds 3600")]
struct Options {
    /// For how long.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// How many threads do so at once; twice the number of cores unless given.
    #[arg(long)]
    threads: Option<usize>,
}

/// Sections of one comparison.
const SECTIONS: u32 = 200;
/// The share and the time by which the two clocks may differ over one comparison: they are disciplined, read one
/// after the other, and a tick is a part of a nanosecond.
const SHARE: f64 = 2e-3;
const TIME: Duration = Duration::from_micros(2);

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    sections: u64,
    moves: u64,
    /// Comparisons that were out of bounds, and the worst one by its share.
    faults: u64,
    worst: f64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = options.threads.unwrap_or(2 * cores).max(1);
    clock::start();
    println!("{threads} threads on {cores} cores for {} s; clock: {:?}", options.seconds, clock::source());
    let end = Instant::now() + Duration::from_secs_f64(options.seconds.clamp(0.0, 1e9));
    let tally = std::thread::scope(|scope| {
        let running: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || soak(thread, cores, end))).collect();
        while Instant::now() < end {
            // As the publisher does, which follows the counter.
            registry::read();
            std::thread::sleep(Duration::from_millis(200));
        }
        running.into_iter().filter_map(|thread| thread.join().ok()).fold(Tally::default(), Tally::plus)
    });
    println!(
        "{} sections, {} of them moved to another core; {} comparisons out of bounds, the worst by {:.3} %; clock: {:?}",
        tally.sections,
        tally.moves,
        tally.faults,
        tally.worst * 100.0,
        clock::source()
    );
    if tally.faults == 0 && tally.sections > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Tally {
    fn plus(self, other: Tally) -> Tally {
        Tally {
            sections: self.sections + other.sections,
            moves: self.moves + other.moves,
            faults: self.faults + other.faults,
            worst: self.worst.max(other.worst),
        }
    }

    /// Counts a comparison: `measured` must be at least `low` and at most `high`.
    fn compare(&mut self, low: Duration, measured: Duration, high: Duration) {
        let (low, measured, high) = (low.as_secs_f64(), measured.as_secs_f64(), high.as_secs_f64());
        let off = ((low - measured).max(measured - high) - TIME.as_secs_f64()) / high.max(f64::MIN_POSITIVE);
        self.worst = self.worst.max(off);
        self.faults += u64::from(off > SHARE);
    }
}

fn soak(thread: usize, cores: usize, end: Instant) -> Tally {
    let mut tally = Tally::default();
    let mut core = thread;
    while Instant::now() < end {
        let (mut low, mut high) = (Duration::ZERO, Duration::ZERO);
        let ((), captured) = capture(|| {
            for section in 0..SECTIONS {
                let outer = Instant::now();
                let timing = zibrato::time!("soak.section");
                let inner = Instant::now();
                if section % 4 == 0 {
                    core += 1;
                    tally.moves += u64::from(move_to(core % cores));
                }
                let until = Duration::from_micros(u64::from(section % 50));
                while inner.elapsed() < until {
                    std::hint::spin_loop();
                }
                low += inner.elapsed();
                drop(timing);
                high += outer.elapsed();
            }
        });
        tally.sections += u64::from(SECTIONS);
        tally.compare(low, captured.time("soak.section"), high);
    }
    tally
}

/// Goes on at another core; `false` where that cannot be asked for.
#[cfg(target_os = "linux")]
fn move_to(core: usize) -> bool {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    rustix::thread::sched_setaffinity(None, &set).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn move_to(_core: usize) -> bool {
    std::thread::yield_now();
    false
}
