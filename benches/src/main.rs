//! Benchmarks of Zibrato, printed as Markdown. They say how fast something is; no test asks them.

mod frames;
mod hot_path;
mod machine;
mod round;
mod through_broker;

use clap::Parser;

/// What to measure.
#[derive(Debug, Parser)]
#[command(version, about, after_help = "Example: cargo xtask bench -- hot-path --rounds 31")]
struct Options {
    /// The benchmarks to run; all if none is named.
    #[arg(value_enum)]
    which: Vec<Which>,
    /// Rounds of each case; cases take turns, so that what disturbs the machine disturbs all alike.
    #[arg(long, default_value_t = 21)]
    rounds: usize,
    /// Seconds for each message size through the broker.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Which {
    /// What one event costs at the call site.
    HotPath,
    /// Frames encoded, decoded and merged.
    Frames,
    /// Measurements through a running broker.
    Broker,
}

fn main() {
    let options = Options::parse();
    let wanted = |which| options.which.is_empty() || options.which.contains(&which);
    println!("Machine: {}\n", machine::describe());
    if wanted(Which::HotPath) {
        hot_path::run(options.rounds);
    }
    if wanted(Which::Frames) {
        frames::run(options.rounds);
    }
    if wanted(Which::Broker) {
        through_broker::run(options.seconds);
    }
}
