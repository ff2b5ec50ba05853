//! The shipped broker from outside: beside libzmq's proxy, and under attack.

use std::path::PathBuf;

use crate::shell::{Failure, Outcome, cargo, command, output, run, target};
use crate::steps::Done;
use crate::{python, suite};

/// Builds the broker and what besieges it.
pub(crate) fn build(release: bool) -> Outcome {
    if !release {
        return suite::build();
    }
    let packages =
        ["build", "--release", "--package", "zibrato-siege", "--package", "zibrato-broker", "--bins"];
    output(&mut cargo(packages)).map(drop)
}

fn built(release: bool, name: &str) -> PathBuf {
    let profile = if release { "release" } else { "debug" };
    target().join(profile).join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// The command that measures throughput; both programs must have been built.
pub(crate) fn throughput(quick: bool) -> Result<std::process::Command, Failure> {
    let python = python::environment()?;
    let mut siege = command(built(true, "zibrato-siege"), ["--broker"]);
    siege.arg(built(true, "zibrato-broker")).args(["throughput", "--python"]).arg(python);
    if quick {
        siege.args(["--seconds", "1", "--rounds", "1"]);
    }
    Ok(siege)
}

/// All attacks, for so many seconds each, on the release build; prints the table of docs/trust.md.
pub(crate) fn hostile(seconds: f64) -> Outcome {
    build(true)?;
    attack(true, seconds)
}

/// The same in short, where only limits are checked.
pub(crate) fn check() -> Result<Done, Failure> {
    if !cfg!(target_os = "linux") {
        return Ok(Done::Skipped("memory is read from /proc".into()));
    }
    build(false)?;
    attack(false, 1.5).map(|()| Done::Passed)
}

fn attack(release: bool, seconds: f64) -> Outcome {
    let mut siege = command(built(release, "zibrato-siege"), ["--broker"]);
    siege.arg(built(release, "zibrato-broker")).args([
        "hostile",
        "--check",
        "--seconds",
        &seconds.to_string(),
    ]);
    run(&mut siege)
}
