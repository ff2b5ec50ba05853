//! The workspace's own commands. Each does its own set-up on a machine that has Rust and Node.js.

mod bench;
mod chaos;
mod demo;
mod document;
mod fuzz;
mod instructions;
mod licences;
mod lint;
mod off;
mod platforms;
mod python;
mod sanitize;
mod servers;
mod setup;
mod shell;
mod siege;
mod sizes;
mod soak;
mod steps;
mod suite;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::instructions::Then;
use crate::steps::Steps;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The workspace's own commands")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds and runs `zibrato demo`.
    Demo {
        /// What `zibrato demo` is given, after `--`.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Runs everything that checks the workspace, and says at the end what failed.
    Test {
        /// Only formatting, lints, Rust tests and the Python client.
        #[arg(long)]
        quick: bool,
        /// Only the steps whose names contain one of these words, comma-separated.
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
    },
    /// Runs each fuzz target for a while.
    Fuzz {
        /// How long for each target.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// Only this target.
        #[arg(long)]
        target: Option<String>,
        /// How many at once.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Writes the table to docs/trust.md, too.
        #[arg(long)]
        report: bool,
        /// Writes the shortest inputs that reach most into fuzz/corpus.
        #[arg(long)]
        keep: bool,
        /// Goes on with a report that was interrupted: leaves out the targets that are done
        #[arg(long, requires = "report")]
        resume: bool,
    },
    /// Counts the instructions of the hot paths, under callgrind.
    Instructions {
        /// Fails where an event costs more than is recorded.
        #[arg(long, conflicts_with = "update")]
        check: bool,
        /// Records the figures beside the cases, and in docs/performance.md.
        #[arg(long)]
        update: bool,
    },
    /// Attacks the shipped broker in all ways known, beside good traffic, and prints what that did.
    Hostile {
        /// Seconds of each attack.
        #[arg(long, default_value_t = 10.0)]
        seconds: f64,
    },
    /// Installs the servers that the backends' tests start: Debian's (as root), and those of npm and PyPI into `target/servers`.
    Servers,
    /// Measures what a call site and the facade add to a program: bytes, and time to compile.
    Sizes {
        /// How often each compilation is timed, of which the shortest counts; 0 leaves it out.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Writes the tables to docs/performance.md.
        #[arg(long)]
        update: bool,
    },
    /// Runs a fleet, breaks everything in it by a seeded schedule, and compares all totals; see `-- --help`.
    Chaos {
        /// Builds it as it is shipped.
        #[arg(long)]
        release: bool,
        /// What `zibrato-chaos run` is given, as in `cargo xtask chaos --seed 7 --minutes 3`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Times sections that move from core to core by Zibrato's clock and by the system's, and compares.
    Soak {
        /// For how long.
        #[arg(long, default_value_t = 600.0)]
        seconds: f64,
    },
    /// Measures everything, and prints it as Markdown with what is aimed at: Zibrato beside its peers, frames, a broker,
    /// instructions, sizes.
    ///
    /// The first time it builds the peers too, which takes minutes. Let nothing else run meanwhile: cases take turns,
    /// so that ratios stand even so, but times do not. No figure ever makes it fail; a library that did not record
    /// what it was given does.
    Bench {
        /// Fifteen rounds, and a second for each size of frame: less than five minutes after the build.
        #[arg(long)]
        quick: bool,
        /// Only these parts, comma-separated.
        #[arg(long, value_enum, value_delimiter = ',')]
        only: Vec<bench::Part>,
        /// Writes what is printed to docs/performance.md, too; peers, frames and broker only together.
        #[arg(long)]
        update_docs: bool,
    },
}

fn main() -> ExitCode {
    let result = match Options::parse().command {
        Command::Demo { args } => demo::demo(&args),
        Command::Bench { quick, only, update_docs } => bench::bench(quick, &only, update_docs),
        Command::Instructions { check: true, .. } => instructions::count(Then::Check),
        Command::Instructions { update: true, .. } => instructions::count(Then::Update),
        Command::Instructions { .. } => instructions::count(Then::Nothing),
        Command::Sizes { rounds, update } => sizes::sizes(rounds, update),
        Command::Chaos { release, args } => chaos::chaos(release, &args),
        Command::Soak { seconds } => soak::clock(seconds),
        Command::Hostile { seconds } => siege::hostile(seconds),
        Command::Servers => servers::install(),
        Command::Fuzz { seconds, target, jobs, report, keep, resume } => {
            fuzz::all(&fuzz::Plan { seconds, target, jobs, report, keep, resume })
        }
        Command::Test { quick, only } => return test(quick, only),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("failed to {why}");
            ExitCode::FAILURE
        }
    }
}

/// The cheap steps come first, so that a slip is told early.
fn test(quick: bool, only: Vec<String>) -> ExitCode {
    let mut steps = Steps::new(only);
    steps.run("format", lint::format);
    steps.run("licences", licences::check);
    steps.run("clippy", lint::clippy);
    steps.run("tests", suite::tests);
    steps.run("doctests", suite::doctests);
    steps.run("python", python::check);
    steps.run("hostile", siege::check);
    if !quick {
        steps.run("peers", || bench::check_peers().map(|()| steps::Done::Passed));
        steps.run("programs and examples", suite::programs);
        steps.run("without default features", suite::bare_features);
        steps.run("documentation", lint::documentation);
        steps.run("nothing when off", off::nothing);
        steps.run("valgrind", sanitize::valgrind);
        steps.run("instructions", instructions::check);
        steps.run("ThreadSanitizer", sanitize::thread);
        steps.run("clock", || soak::clock(10.0).map(|()| steps::Done::Passed));
        steps.run("chaos", chaos::short);
        let plan =
            fuzz::Plan { seconds: 60, target: None, jobs: 2, report: false, keep: false, resume: false };
        steps.run("fuzz", || fuzz::all(&plan).map(|()| steps::Done::Passed));
        steps.run("macOS and Windows", platforms::check);
    }
    steps.summary()
}
