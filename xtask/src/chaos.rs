//! A fleet to which everything happens: `chaos/`.

use crate::shell::{Failure, Outcome, cargo, command, in_ci, run, target};
use crate::steps::Done;
use crate::{servers, suite};

/// Builds the fleet and runs the program with these arguments.
pub(crate) fn chaos(release: bool, args: &[String]) -> Outcome {
    set_up()?;
    let profile = if release { "release" } else { "debug" };
    if release {
        let programs = ["--package", "zibrato-chaos", "--package", "zibrato-cli"];
        run(cargo(["build", "--quiet", "--bins", "--release"]).args(programs))?;
    } else {
        suite::build()?;
    }
    let is_subcommand = args.first().is_some_and(|arg| !arg.starts_with('-'));
    let words = (!is_subcommand).then_some("run").into_iter().chain(args.iter().map(String::as_str));
    run(&mut command(target().join(profile).join("zibrato-chaos"), words))
}

/// What CI runs: one seed, with two brokers, plain and encrypted.
pub(crate) fn short() -> Result<Done, Failure> {
    if !cfg!(target_os = "linux") {
        return Ok(Done::Skipped("it is set up for Linux".into()));
    }
    let args = ["run", "--seed", "5", "--minutes", "0.3", "--brokers", "2", "--keys"].map(String::from);
    let (plain, encrypted) = (&args[..args.len() - 1], &args[..]);
    chaos(false, plain)?;
    chaos(false, encrypted)?;
    Ok(Done::Passed)
}

/// The servers, and other clocks; without them less goes wrong, which in CI will not do.
fn set_up() -> Outcome {
    match servers::install() {
        Err(why) if !in_ci() => {
            println!("some of it will be left out: failed to {why}");
            Ok(())
        }
        installed => installed,
    }
}
