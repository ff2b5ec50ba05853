//! What a fresh machine lacks.

use std::path::{Path, PathBuf};

use crate::shell::{Failure, Outcome, cargo, command, output, run, works, write};

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
    install_all(&[package], Daemons::AsDebianDoes)
}

/// What becomes of a daemon that is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Daemons {
    /// What its package does; in many cases that starts it.
    AsDebianDoes,
    /// It is not started.
    StayOff,
}

/// Installs system packages where this is Debian and we are root.
///
/// # Errors
/// As [`install`].
pub(crate) fn install_all(packages: &[&str], daemons: Daemons) -> Outcome {
    let is_root = output(&mut command("id", ["-u"])).is_ok_and(|id| id.trim() == "0");
    let names = packages.join(" ");
    if !is_root || !works(&mut command("apt-get", ["--version"])) {
        return Err(Failure(format!(
            "find what Debian has in {names}: install it (`apt-get install {names}`)"
        )));
    }
    run(&mut command("apt-get", ["update", "-qq"]))?;
    let policy = if daemons == Daemons::StayOff { Some(Policy::set()?) } else { None };
    let mut apt = command("apt-get", ["install", "-y", "-qq"]);
    if daemons == Daemons::StayOff {
        // What they recommend are more daemons.
        apt.arg("--no-install-recommends");
    }
    let done = run(apt.args(packages).env("DEBIAN_FRONTEND", "noninteractive"));
    drop(policy);
    done
}

/// Keeps packages from starting their daemons: with Debian's defaults some listen on 0.0.0.0. `invoke-rc.d` asks this
/// program, and 101 is its answer for "not allowed"; it is removed as soon as the installation is over.
struct Policy;

impl Policy {
    const PATH: &str = "/usr/sbin/policy-rc.d";

    /// `None` where the system has a policy of its own, which stays.
    fn set() -> Result<Option<Policy>, Failure> {
        if Path::new(Self::PATH).exists() {
            return Ok(None);
        }
        write(Path::new(Self::PATH), "#!/bin/sh\nexit 101\n")?;
        let policy = Policy;
        run(&mut command("chmod", ["755", Self::PATH]))?;
        Ok(Some(policy))
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if let Err(why) = std::fs::remove_file(Self::PATH) {
            println!("failed to remove {}, without which no daemon is started: {why}", Self::PATH);
        }
    }
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
