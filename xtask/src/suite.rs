//! The tests that Cargo runs.

use crate::shell::{Failure, Outcome, cargo, in_ci, run, works};
use crate::steps::Done;
use crate::{python, servers};

/// All tests but those in the documentation; with nextest where it is installed, since it runs tests of
/// several programs at once and ends those that hang.
pub(crate) fn tests() -> Result<Done, Failure> {
    // Some have old clients in Python at the other end.
    python::environment()?;
    // Others have real servers there. A test whose server is missing is skipped, but in CI it fails.
    match servers::install() {
        Err(why) if !in_ci() => println!("tests of some servers will be skipped: failed to {why}"),
        installed => installed?,
    }
    if works(&mut cargo(["nextest", "--version"])) {
        run(&mut cargo(["nextest", "run", "--workspace", "--no-fail-fast"]))?;
    } else {
        run(&mut cargo(["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"]))?;
    }
    Ok(Done::Passed)
}

pub(crate) fn doctests() -> Result<Done, Failure> {
    // The twin is the facade's sources once more, for a test; `--doc` takes no notice of its `doctest = false`.
    run(&mut cargo(["test", "--workspace", "--exclude", "zibrato-twin", "--doc"]))?;
    Ok(Done::Passed)
}

pub(crate) fn programs() -> Result<Done, Failure> {
    build().map(|()| Done::Passed)
}

/// Builds all programs and examples, with the features that they have where tests are built: fewer would be others, and so
/// nearly everything would be built once more.
pub(crate) fn build() -> Outcome {
    run(&mut cargo(["build", "--workspace", "--bins", "--examples"]))
}

/// The facade as a library author depends on it, and the core that it then stands on.
pub(crate) fn bare_features() -> Result<Done, Failure> {
    for package in ["zibrato", "zibrato-core"] {
        run(&mut cargo(["check", "--package", package, "--no-default-features"]))?;
    }
    // As applications have it that need no keys.
    run(&mut cargo(["check", "--package", "zibrato"]))?;
    for bridge in ["metrics", "tracing", "metrics,tracing"] {
        run(&mut cargo(["check", "--package", "zibrato", "--no-default-features", "--features", bridge]))?;
    }
    Ok(Done::Passed)
}
