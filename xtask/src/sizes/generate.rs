//! Writes the programs.

use std::fs;
use std::io;
use std::path::Path;

use super::site::SITES;
use super::{FEW, MANY, TIMED};
use crate::shell::root;

/// The name of a program with so many sites of a kind.
pub(super) fn program(site: &str, sites: usize) -> String {
    format!("{site}_{sites}")
}

/// Writes a workspace of three packages: `sites`, whose sections are compared, `times`, whose compilation is timed,
/// and `facade`.
pub(super) fn workspace(dir: &Path) -> io::Result<()> {
    write(&dir.join("Cargo.toml"), WORKSPACE)?;
    // So that what both depend on is of the same versions.
    write(&dir.join("Cargo.lock"), &fs::read_to_string(root().join("Cargo.lock"))?)?;
    for package in ["sites", "times"] {
        write(
            &dir.join(package).join("Cargo.toml"),
            &manifest(package, "default-features = false, features = [\"enable\"]", PEERS),
        )?;
    }
    for site in SITES {
        for sites in [FEW, MANY] {
            let file = format!("{}.rs", program(site.name, sites));
            write(&dir.join("sites/src/bin").join(file), &site.program(sites))?;
        }
        if site.timed {
            let file = format!("{}.rs", program(site.name, TIMED));
            write(&dir.join("times/src/bin").join(file), &site.program(TIMED))?;
        }
    }
    write(&dir.join("facade/Cargo.toml"), &manifest("facade", "default-features = true", ""))?;
    write(&dir.join("facade/src/bin/with.rs"), WITH)?;
    write(&dir.join("facade/src/bin/without.rs"), WITHOUT)
}

/// The version of a dependency that was taken.
pub(super) fn version_of(dir: &Path, package: &str) -> Option<String> {
    let lock = fs::read_to_string(dir.join("Cargo.lock")).ok()?;
    let (_, entry) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    Some(entry.split('"').next()?.to_owned())
}

/// Only where it changes something, so that nothing is compiled in vain.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    fs::write(path, text)
}

fn manifest(name: &str, features: &str, more: &str) -> String {
    let zibrato = root().join("zibrato");
    format!(
        "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [dependencies]\nzibrato = {{ path = {:?}, {features} }}\n{more}",
        zibrato.display().to_string()
    )
}

const WORKSPACE: &str = "\
[workspace]
resolver = \"3\"
members = [\"sites\", \"times\", \"facade\"]

[profile.release]
strip = true
";
const PEERS: &str = "metrics = \"0.24\"\ntracing = \"0.1\"\n";
const WITH: &str = "\
fn main() {
    let _zibrato = zibrato::install().unwrap();
    work();
}

fn work() {
    println!(\"{}\", std::env::args().count());
}
";
const WITHOUT: &str = "\
fn main() {
    work();
}

fn work() {
    println!(\"{}\", std::env::args().count());
}
";
