//! What a fresh machine lacks.

use crate::shell::{Failure, Outcome, command, output, run, works};

/// Sees to it that a system program is there: installs `package` where this is Debian and we are root.
///
/// # Errors
/// When it is missing and cannot be installed; says what to do.
pub(crate) fn program(name: &str, package: &str) -> Outcome {
    if works(&mut command(name, ["--version"])) {
        return Ok(());
    }
    let help = format!("find `{name}`; install it, on Debian with `apt-get install {package}`");
    let is_root = output(&mut command("id", ["-u"])).is_ok_and(|id| id.trim() == "0");
    if !is_root || !works(&mut command("apt-get", ["--version"])) {
        return Err(Failure(help));
    }
    run(&mut command("apt-get", ["update", "-qq"]))?;
    install(package)?;
    if works(&mut command(name, ["--version"])) { Ok(()) } else { Err(Failure(help)) }
}

/// Installs a Debian package; for root only.
pub(crate) fn install(package: &str) -> Outcome {
    run(command("apt-get", ["install", "-y", "-qq", package]).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Sees to it that a component of the Rust toolchain is there.
pub(crate) fn component(subcommand: &str, name: &str) -> Outcome {
    if works(&mut crate::shell::cargo([subcommand, "--version"])) {
        return Ok(());
    }
    run(&mut command("rustup", ["component", "add", name]))
}

/// Where the toolchain keeps its libraries.
pub(crate) fn sysroot() -> Result<std::path::PathBuf, Failure> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    Ok(output(&mut command(rustc, ["--print", "sysroot"]))?.trim().into())
}
