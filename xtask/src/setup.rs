//! What a fresh machine lacks.

use std::path::PathBuf;

use crate::shell::{Failure, Outcome, cargo, command, output, run, works};

/// Sees to it that a system program is there: installs `package` where this is Debian and we are root.
///
/// # Errors
/// When it is missing and cannot be installed; says what to do.
pub(crate) fn program(name: &str, package: &str) -> Outcome {
    if works(&mut command(name, ["--version"])) {
        return Ok(());
    }
    println!("`{name}` is missing");
    install(package)?;
    if works(&mut command(name, ["--version"])) {
        return Ok(());
    }
    Err(Failure(format!("find `{name}` after {package} was installed")))
}

/// Installs a system package where this is Debian and we are root.
///
/// # Errors
/// When it is another system, or another user; says what to do.
pub(crate) fn install(package: &str) -> Outcome {
    let is_root = output(&mut command("id", ["-u"])).is_ok_and(|id| id.trim() == "0");
    if !is_root || !works(&mut command("apt-get", ["--version"])) {
        return Err(Failure(format!(
            "find what Debian has in {package}: install it (`apt-get install {package}`)"
        )));
    }
    run(&mut command("apt-get", ["update", "-qq"]))?;
    run(command("apt-get", ["install", "-y", "-qq", package]).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Sees to it that a component of the Rust toolchain is there.
pub(crate) fn component(subcommand: &str, name: &str) -> Outcome {
    if works(&mut cargo([subcommand, "--version"])) {
        return Ok(());
    }
    run(&mut command("rustup", ["component", "add", name]))
}

/// Where the toolchain keeps its libraries.
pub(crate) fn sysroot() -> Result<PathBuf, Failure> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    Ok(output(&mut command(rustc, ["--print", "sysroot"]))?.trim().into())
}

/// The compiler's version, without its name.
pub(crate) fn rustc_version() -> Result<String, Failure> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = output(&mut command(rustc, ["--version"]))?;
    Ok(version.trim().trim_start_matches("rustc ").into())
}
