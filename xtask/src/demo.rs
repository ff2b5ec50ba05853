//! The command that runs the demo.

use crate::shell::{Outcome, cargo};

/// Builds and runs `zibrato demo`.
pub(crate) fn demo(args: &[String]) -> Outcome {
    let program =
        ["run", "--quiet", "--release", "--package", "zibrato-cli", "--bin", "zibrato", "--", "demo"];
    run_in_place(cargo(program.map(String::from).iter().chain(args)))
}

/// In this process's place, so that signals and the terminal are the program's own.
#[cfg(unix)]
fn run_in_place(mut command: std::process::Command) -> Outcome {
    use std::os::unix::process::CommandExt;
    let why = command.exec();
    Err(crate::shell::Failure(format!("start cargo: {why}")))
}

#[cfg(not(unix))]
fn run_in_place(mut command: std::process::Command) -> Outcome {
    crate::shell::run(&mut command)
}
