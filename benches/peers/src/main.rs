//! Zibrato beside what people would use instead, in one run on one machine, printed as Markdown.
//!
//! Cases take turns of about two milliseconds, so that what disturbs the machine disturbs all alike. Handles of
//! peers are taken after their recorders are installed, and every library that keeps events is asked at the end
//! whether it has those it was given: a case that recorded nothing ends the program with an error.
//!
//! Every peer is used as its documentation has it, in its newest version; none that was wanted could not be had or
//! built. What peers do differently from Zibrato is in `docs/performance.md`.

mod case;
mod cases;
mod child;
mod machine;
mod round;
mod sites;
mod table;
mod targets;
mod tsc;

use std::process::ExitCode;

use clap::Parser;

use crate::case::Group;
use crate::child::Child;

/// Measures Zibrato beside its peers.
#[derive(Debug, Parser)]
#[command(version, about, after_help = "Example: zibrato-peers --quick > figures.md")]
struct Options {
    /// Fifteen rounds, and shorter looks at what is slow by nature.
    #[arg(long)]
    quick: bool,
    /// Rounds of each case; 51, or 15 with --quick.
    #[arg(long)]
    rounds: Option<usize>,
    /// What the program does for itself in a process of its own.
    #[arg(long, hide = true)]
    child: Option<Child>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(child) = options.child {
        child.run(options.quick);
        return ExitCode::SUCCESS;
    }
    let rounds = options.rounds.unwrap_or(if options.quick { 15 } else { 51 }).max(1);
    println!("Machine: {}\n", machine::describe());
    println!(
        "Nanoseconds for each event and thread, the loop included: minimum / median of {rounds} rounds, in which all \
         cases take turns. Ratios are of minima for one thread, and of medians for two on the same metric.\n"
    );
    let measured = child::all(options.quick);
    let cases = cases::all();
    let (results, failures) = round::measure(&cases, rounds);
    println!(
        "Two threads were at it together for {:.0} % of the time{}.\n",
        100.0 * results.overlap,
        if results.overlap < 0.9 {
            ": others kept the machine busy, so their rows do not tell what contention costs"
        } else {
            ""
        }
    );
    Group::ALL.iter().for_each(|group| table::print(*group, &cases, &results));
    measured.print();
    targets::print(&cases, &results, &measured);
    for failure in &failures {
        eprintln!("failed to record every event: {failure}");
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
