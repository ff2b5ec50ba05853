//! Benchmarks of what comes after an event, printed as Markdown. They say how fast something is; no test asks them.
//! What an event costs, and what it costs elsewhere, is measured in `peers/`.

#[cfg(target_os = "linux")]
mod backends;
mod frames;
mod through_broker;

use clap::Parser;

/// What to measure.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "Example: cargo run --release --package zibrato-benches -- frames --rounds 31"
)]
struct Options {
    /// The benchmarks to run; all if none is named.
    #[arg(value_enum)]
    which: Vec<Which>,
    /// How often each figure of frames is measured, of which the median counts.
    #[arg(long, default_value_t = 21)]
    rounds: usize,
    /// Seconds for each message size through the broker.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How many flushes, of a second each, every backend gets.
    #[arg(long, default_value_t = 40)]
    flushes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Which {
    /// Frames encoded, decoded and merged.
    Frames,
    /// Measurements through a running broker.
    Broker,
    /// Workers into real servers, beside the daemons that people would use; on Linux only.
    Backends,
}

fn main() {
    let options = Options::parse();
    let wanted = |which| options.which.is_empty() || options.which.contains(&which);
    if wanted(Which::Frames) {
        frames::run(options.rounds);
    }
    if wanted(Which::Broker) {
        through_broker::run(options.seconds);
    }
    #[cfg(target_os = "linux")]
    if wanted(Which::Backends) {
        backends::run(options.flushes);
    }
}
