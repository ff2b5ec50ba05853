//! Formatting, lints and documentation.

use crate::setup::component;
use crate::shell::{Failure, cargo, run};
use crate::steps::Done;

pub(crate) fn format() -> Result<Done, Failure> {
    component("fmt", "rustfmt")?;
    run(&mut cargo(["fmt", "--all", "--check"]))?;
    for apart in ["fuzz/Cargo.toml", "benches/peers/Cargo.toml"] {
        run(&mut cargo(["fmt", "--manifest-path", apart, "--check"]))?;
    }
    Ok(Done::Passed)
}

pub(crate) fn clippy() -> Result<Done, Failure> {
    component("clippy", "clippy")?;
    run(&mut cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    Ok(Done::Passed)
}

pub(crate) fn documentation() -> Result<Done, Failure> {
    // Only libraries: the program `zibrato` would be written over the library of that name. The twin is the
    // facade's sources once more, for a test.
    run(cargo(["doc", "--workspace", "--exclude", "zibrato-twin", "--no-deps", "--lib"])
        .env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Done::Passed)
}
