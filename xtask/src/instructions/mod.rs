//! Instructions per event on the hot paths, counted by callgrind and compared to what is recorded.

mod baseline;
mod callgrind;

use std::path::PathBuf;

use crate::document;
use crate::sanitize::without_valgrind;
use crate::setup::rustc_version;
use crate::shell::{Failure, Outcome, cargo, command, output, root, run, target};
use crate::steps::Done;
use baseline::{Baseline, Verdict};

const PACKAGE: &str = "zibrato-instructions";

/// One hot path as it was just counted.
#[derive(Debug)]
struct Counted {
    function: String,
    title: String,
    /// Instructions per event, those of the same loop without the event taken off.
    instructions: f64,
}

/// What is done with the figures, beside printing them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Nothing,
    /// Fails where a path has become dearer than recorded.
    Check,
    /// Records them, also in the documentation.
    Update,
}

/// The command. Where nothing can be counted it says so and does nothing.
pub(crate) fn count(then: Then) -> Outcome {
    if let Done::Skipped(why) = step(then)? {
        println!("skipped: {why}");
    }
    Ok(())
}

/// The step of `cargo xtask test`.
pub(crate) fn check() -> Result<Done, Failure> {
    step(Then::Check)
}

fn step(then: Then) -> Result<Done, Failure> {
    if let Some(skipped) = without_valgrind()? {
        return Ok(skipped);
    }
    let counted = measure()?;
    let rustc = rustc_version()?;
    let file = root().join("benches/instructions/baseline.toml");
    let recorded = Baseline::read(&file)?;
    println!("\n{}\n\n{}", told(&rustc), table(&counted, &recorded));
    match then {
        Then::Nothing => {}
        Then::Check => recorded.check(&counted, &rustc)?,
        Then::Update => {
            recorded.updated(&counted, &rustc).write(&file)?;
            let text = format!("{}\n\n{}", told(&rustc), table(&counted, &recorded));
            document::replace(&root().join("docs/performance.md"), "instructions", &text)?;
        }
    }
    Ok(Done::Passed)
}

fn told(rustc: &str) -> String {
    format!("Counted by `cargo xtask instructions`, release build, rustc {rustc}, x86_64 Linux.")
}

/// Runs every hot path under callgrind.
fn measure() -> Result<Vec<Counted>, Failure> {
    run(&mut cargo(["build", "--quiet", "--release", "--package", PACKAGE]))?;
    let costs = target().join("instructions.callgrind");
    let file = format!("--callgrind-out-file={}", costs.display());
    let mut valgrind =
        command("valgrind", ["--quiet", "--tool=callgrind", "--compress-strings=no", "--compress-pos=no"]);
    let said = output(valgrind.arg(file).arg(program()))?;
    let costs = callgrind::read(&costs)?;

    let mut lines = said.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let events = match lines.next().as_deref() {
        Some(["events", n]) => n.parse().ok().filter(|n| *n > 0.0),
        _ => None,
    };
    let events: f64 = events.ok_or_else(|| Failure(format!("read what {PACKAGE} printed: {said}")))?;
    let per_event = |function: &str| {
        let cost = |caller| costs.of_call(&format!("::{caller}"), &format!("::cases::{function}"));
        match (cost("once"), cost("twice")) {
            (Some(once), Some(twice)) => Ok((twice as f64 - once as f64) / events),
            _ => {
                Err(Failure(format!("find what `{function}` cost: the compiler has merged it with another")))
            }
        }
    };
    let mut counted = Vec::new();
    for line in lines {
        let ["case", function, floor, title] = line[..] else { continue };
        let floor = if floor == function { 0.0 } else { per_event(floor)? };
        let instructions = per_event(function)? - floor;
        counted.push(Counted { function: function.into(), title: title.into(), instructions });
    }
    Ok(counted)
}

fn program() -> PathBuf {
    target().join("release").join(PACKAGE)
}

fn table(counted: &[Counted], recorded: &Baseline) -> String {
    let mut table = String::from("| event | instructions | target |\n|---|---|---|\n");
    for case in counted {
        let verdict = match recorded.target_met(case) {
            Some((target, Verdict::Met)) => format!("at most {target}: met"),
            Some((target, Verdict::Missed)) => format!("at most {target}: **missed**"),
            None => String::new(),
        };
        table.push_str(&format!("| {} | {:.1} | {verdict} |\n", case.title, case.instructions));
    }
    table
}
