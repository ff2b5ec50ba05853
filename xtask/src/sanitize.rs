//! The shipped cells under valgrind and ThreadSanitizer.

use crate::setup::{program, sysroot};
use crate::shell::{Failure, cargo, in_ci, root, run, target};
use crate::steps::Done;

const CELLS: [&str; 5] = ["test", "--package", "zibrato-core", "--test", "cells"];
const TARGET: &str = "x86_64-unknown-linux-gnu";

fn elsewhere() -> Option<Done> {
    let here = cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"));
    (!here).then(|| Done::Skipped(format!("only for {TARGET}")))
}

/// Why nothing can be run under valgrind here; in CI that is an error.
pub(crate) fn without_valgrind() -> Result<Option<Done>, Failure> {
    if let Some(skipped) = elsewhere() {
        return Ok(Some(skipped));
    }
    match program("valgrind", "valgrind") {
        Ok(()) => Ok(None),
        Err(why) if in_ci() => Err(why),
        Err(why) => Ok(Some(Done::Skipped(why.to_string()))),
    }
}

pub(crate) fn valgrind() -> Result<Done, Failure> {
    if let Some(skipped) = without_valgrind()? {
        return Ok(skipped);
    }
    // Fairly: valgrind runs one thread at a time, and a reader that spins would keep all others waiting.
    let runner = "timeout 600 valgrind --quiet --fair-sched=try --error-exitcode=99 --leak-check=full \
                  --show-leak-kinds=definite --errors-for-leak-kinds=definite";
    let mut cargo = cargo(CELLS);
    run(cargo.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", runner).env("ZIBRATO_SMALL", "1"))?;
    Ok(Done::Passed)
}

pub(crate) fn thread() -> Result<Done, Failure> {
    if let Some(skipped) = elsewhere() {
        return Ok(skipped);
    }
    let with_std = sysroot()?.join("lib/rustlib/src/rust/library/Cargo.lock").exists();
    let mut cargo = cargo(CELLS);
    cargo.args(["--target", TARGET, "--target-dir"]).arg(target().join("sanitize"));
    // The sanitizer is not in stable Rust; this makes the stable compiler take its flag.
    cargo.env("RUSTC_BOOTSTRAP", "1").env("ZIBRATO_SMALL", "1");
    cargo.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", "timeout 600");
    if with_std {
        cargo.args(["-Z", "build-std"]).env("RUSTFLAGS", "-Zsanitizer=thread");
    } else {
        println!(
            "the source of the standard library is not installed (rust-src): its own part is not watched"
        );
        let suppressions = root().join("xtask/tsan-suppressions.txt");
        cargo.env("RUSTFLAGS", "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer");
        cargo.env("TSAN_OPTIONS", format!("suppressions={}", suppressions.display()));
    }
    run(&mut cargo)?;
    Ok(Done::Passed)
}
