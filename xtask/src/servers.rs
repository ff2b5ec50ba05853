//! The real servers that the backends' tests start: from Debian, npm and PyPI. `xtask/servers` lists them.

use std::path::{Path, PathBuf};

use crate::python;
use crate::setup::{self, Daemons};
use crate::shell::{Failure, Outcome, command, read, root, run, target, write};

/// Where users' paths do not lead, and Debian has daemons.
const MORE_PLACES: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Installs whatever is missing, and starts none of it.
///
/// # Errors
/// When something is missing and cannot be installed; what could be is installed all the same.
pub(crate) fn install() -> Outcome {
    let debian = from_debian();
    let npm = from_npm();
    let pypi = from_pypi();
    debian.and(npm).and(pypi)
}

fn from_debian() -> Outcome {
    let list = read(&list("debian.txt"))?;
    let wanted = list.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '));
    let missing: Vec<&str> =
        wanted.filter(|(program, _)| !is_there(program)).map(|(_, package)| package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("missing: {}", missing.join(", "));
    setup::install_all(&missing, Daemons::StayOff)
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(MORE_PLACES.map(PathBuf::from));
    places.into_iter().any(|place| place.join(program).is_file())
}

fn from_npm() -> Outcome {
    let (wanted, folder) = (list("package.json"), folder()?);
    let (text, copy) = (read(&wanted)?, folder.join("package.json"));
    let stamp = folder.join("node_modules/.installed.json");
    if read(&stamp).is_ok_and(|installed| installed == text) {
        return Ok(());
    }
    write(&copy, &text)?;
    let quiet =
        ["install", "--no-audit", "--no-fund", "--no-package-lock", "--omit=optional", "--loglevel=error"];
    // On Windows npm is a script, which is not started by its bare name.
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    run(command(npm, quiet).current_dir(&folder))?;
    write(&stamp, &text)
}

fn from_pypi() -> Outcome {
    let folder = folder()?.join("venv");
    let python = python::virtual_environment(&folder, &list("requirements.txt"))?;
    // Hashes are asked for of all or of none, so these are installed by themselves.
    let (wanted, stamp) = (list("hashed.txt"), folder.join("hashed.txt"));
    let text = read(&wanted)?;
    if read(&stamp).is_ok_and(|installed| installed == text) {
        return Ok(());
    }
    let quietly = ["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--requirement"];
    run(command(python, quietly).arg(&wanted))?;
    write(&stamp, &text)
}

fn list(name: &str) -> PathBuf {
    root().join("xtask/servers").join(name)
}

fn folder() -> Result<PathBuf, Failure> {
    let folder = target().join("servers");
    make(&folder)?;
    Ok(folder)
}

fn make(folder: &Path) -> Outcome {
    std::fs::create_dir_all(folder).map_err(|why| Failure(format!("make {}: {why}", folder.display())))
}
