//! All that is measured: Zibrato beside its peers, frames, a broker, instructions and sizes.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::ValueEnum;

use crate::document;
use crate::instructions::{self, Then};
use crate::shell::{Failure, Outcome, cargo, command, output, root, run, target};
use crate::{servers, siege, sizes};

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// What one event costs, beside everything people would use instead.
    Peers,
    /// Frames encoded, decoded and merged.
    Frames,
    /// Measurements through a running broker.
    Broker,
    /// Workers into real servers, beside the daemons that people would use.
    Backends,
    /// Instructions of each event, under callgrind.
    Instructions,
    /// What a call site and the facade add to a program.
    Sizes,
}

/// Runs the parts, all if none is named, and writes what they print to docs/performance.md if that is wanted.
pub(crate) fn bench(quick: bool, only: &[Part], update_docs: bool) -> Outcome {
    let wanted = |part| only.is_empty() || only.contains(&part);
    let together = [Part::Peers, Part::Frames, Part::Broker].map(wanted);
    if update_docs && together.contains(&true) && together.contains(&false) {
        return Err(Failure("update the figures of peers, frames and broker: measure them together".into()));
    }
    // All is built before anything is measured, and only figures go to the standard output.
    if wanted(Part::Peers) {
        output(cargo(["build", "--release"].into_iter().chain(PEERS)).arg(target()))?;
    }
    if wanted(Part::Frames) || wanted(Part::Broker) || wanted(Part::Backends) {
        output(&mut cargo(["build", "--release", "--package", "zibrato-benches"]))?;
    }
    if wanted(Part::Broker) {
        siege::build(true)?;
    }
    if wanted(Part::Backends) {
        output(&mut cargo(["build", "--release", "--package", "zibrato-cli"]))?;
        servers::install()?;
    }
    let mut text = String::new();
    if wanted(Part::Peers) {
        text += &heard(&mut command(built("zibrato-peers"), quick.then_some("--quick")))?;
    }
    let own = |name: &str| {
        let mut bench = command(built("zibrato-benches"), [name]);
        if quick {
            bench.args(["--rounds", "15", "--seconds", "1", "--flushes", "10"]);
        }
        heard(&mut bench)
    };
    for (part, name) in [(Part::Frames, "frames"), (Part::Broker, "broker")] {
        if wanted(part) {
            text += &own(name)?;
        }
    }
    if wanted(Part::Broker) {
        text += &heard(&mut siege::throughput(quick)?)?;
    }
    let backends = if wanted(Part::Backends) { own("backends")? } else { String::new() };
    // What was not measured keeps its figures.
    for (name, text) in [("bench", text), ("backends", backends)] {
        if update_docs && !text.is_empty() {
            document::replace(&root().join("docs/performance.md"), name, &text)?;
        }
    }
    if wanted(Part::Instructions) {
        println!("### Instructions");
        instructions::count(if update_docs { Then::Update } else { Then::Nothing })?;
    }
    if wanted(Part::Sizes) {
        println!("### Size");
        sizes::sizes(if quick { 1 } else { 3 }, update_docs)?;
    }
    Ok(())
}

/// A program of the release build.
fn built(name: &str) -> PathBuf {
    target().join("release").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// The peers are no part of the workspace, so that what they depend on never touches what is shipped.
const PEERS: [&str; 4] = ["--locked", "--manifest-path", "benches/peers/Cargo.toml", "--target-dir"];

/// Lints the peers, which the workspace's own lints do not reach.
pub(crate) fn check_peers() -> Outcome {
    let clippy = ["clippy", "--all-targets"].into_iter().chain(PEERS);
    run(cargo(clippy).arg(target()).args(["--", "-D", "warnings"]))
}

/// Runs a program to its end, and gives what it printed, which is seen meanwhile.
fn heard(program: &mut Command) -> Result<String, Failure> {
    let name = program.get_program().to_string_lossy().into_owned();
    let mut child =
        program.stdout(Stdio::piped()).spawn().map_err(|why| Failure(format!("start `{name}`: {why}")))?;
    let mut text = String::new();
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
        let line = line.map_err(|why| Failure(format!("hear `{name}`: {why}")))?;
        println!("{line}");
        text.push_str(&line);
        text.push('\n');
    }
    match child.wait() {
        Ok(status) if status.success() => Ok(text),
        Ok(status) => Err(Failure(format!("run `{name}`: {status}"))),
        Err(why) => Err(Failure(format!("wait for `{name}`: {why}"))),
    }
}
