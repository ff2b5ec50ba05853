//! Whether the libraries compile for the platforms that have fallbacks of their own.

use crate::setup::sysroot;
use crate::shell::{Failure, cargo, run};
use crate::steps::Done;

const TARGETS: [&str; 3] = ["x86_64-pc-windows-gnu", "x86_64-pc-windows-msvc", "aarch64-apple-darwin"];

/// Checks what has no C in it; the standard library of a target must be installed (`rustup target add`).
pub(crate) fn check() -> Result<Done, Failure> {
    let libraries = sysroot()?.join("lib/rustlib");
    let (there, missing): (Vec<&str>, Vec<&str>) =
        TARGETS.into_iter().partition(|t| libraries.join(t).join("lib").exists());
    for target in &there {
        for package in ["zibrato-core", "zibrato-macros", "zibrato-transport", "zibrato"] {
            run(&mut cargo(["check", "--package", package, "--target", target]))?;
        }
    }
    if there.is_empty() {
        let why = format!("no standard library of these is installed: {}", missing.join(", "));
        return Ok(Done::Skipped(why));
    }
    if !missing.is_empty() {
        println!("not checked, not installed: {}", missing.join(", "));
    }
    Ok(Done::Passed)
}
