//! The shipped broker from outside: how much passes through it, beside libzmq's own proxy, and what passes while it is
//! attacked. Everything is on loopback, printed as Markdown, and says how fast something is; no test asks for that.

mod attacks;
mod client;
mod hostile;
mod server;
mod stopped;
mod throughput;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(version, about)]
struct Options {
    /// The program `zibrato-broker`.
    #[arg(long)]
    broker: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Four publishers and four subscribers, in turns with libzmq's proxy.
    Throughput {
        /// A Python with pyzmq, for libzmq's proxy; without it only the broker is measured.
        #[arg(long)]
        python: Option<PathBuf>,
        /// Seconds of each turn.
        #[arg(long, default_value_t = 3.0)]
        seconds: f64,
        /// Turns of each, of which the median counts.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Only this size of frames, in bytes.
        #[arg(long)]
        size: Option<usize>,
    },
    /// How long frames take to subscribers while another one is stopped.
    Stopped {
        /// For how long it is stopped.
        #[arg(long, default_value_t = 60.0)]
        seconds: f64,
    },
    /// A subscriber of a broker's first port and the next, for `stopped`: it only reads.
    #[command(hide = true)]
    Subscribe { port: u16 },
    /// Attacks, one after the other, beside good traffic.
    Hostile {
        /// Seconds of each attack.
        #[arg(long, default_value_t = 10.0)]
        seconds: f64,
        /// Only attacks whose names contain this.
        #[arg(long)]
        only: Option<String>,
        /// Fail where the broker ends, has more memory than its limits allow, tells of an attack in no counter, or passes
        /// on nothing good.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let Options { broker, command } = Options::parse();
    let result = match command {
        Command::Throughput { python, seconds, rounds, size } => {
            throughput::run(&broker, python.as_deref(), seconds, rounds, size)
        }
        Command::Stopped { seconds } => stopped::run(&broker, seconds),
        Command::Subscribe { port } => stopped::subscribe(port),
        Command::Hostile { seconds, only, check } => hostile::run(&broker, seconds, only.as_deref(), check),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed to measure: {error}");
            ExitCode::FAILURE
        }
    }
}
