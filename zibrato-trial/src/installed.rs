//! What is there to test against.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Debian keeps daemons where users' paths do not lead.
const MORE_PLACES: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Whether a test that needs a server must fail where it is missing: where `CI=true` or `ZIBRATO_SERVERS=required`.
pub fn required() -> bool {
    let is = |name: &str, value: &str| std::env::var_os(name).is_some_and(|found| found == value);
    is("CI", "true") || is("ZIBRATO_SERVERS", "required")
}

/// Whether a program is there; if not, says what is skipped and `how` to get it (`apt-get install influxdb`).
///
/// # Panics
/// When it is missing where it is [`required`].
pub fn installed(program: &str, how: &str) -> bool {
    find(program).is_some() || missing(program, how)
}

/// A file of a module from npm that `cargo xtask servers` installs, as in `statsd/stats.js`; `None` where it is missing.
///
/// # Panics
/// When it is missing where it is [`required`].
pub fn node_module(file: &str) -> Option<PathBuf> {
    let path = servers_directory().join("node_modules").join(file);
    let is_there = installed("node", "apt-get install nodejs")
        && (path.exists() || missing(file, "cargo xtask servers"));
    is_there.then_some(path)
}

/// The Python interpreter that has what `cargo xtask servers` installs, if it can import `module`.
///
/// # Panics
/// When it cannot where it is [`required`].
pub fn python(module: &str) -> Option<PathBuf> {
    let python = servers_directory().join("venv/bin/python");
    let import = format!("import {module}");
    let mut command = Command::new(&python);
    let status = command.args(["-c", &import]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let is_there = status.is_ok_and(|status| status.success()) || missing(module, "cargo xtask servers");
    is_there.then_some(python)
}

/// Where `cargo xtask servers` puts what is from npm and PyPI: `target/servers`.
pub fn servers_directory() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    workspace.join(target).join("servers")
}

/// Where a program is.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| path.exists());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(MORE_PLACES.map(PathBuf::from));
    places.map(|place| place.join(program)).find(|file| file.is_file())
}

fn missing(what: &str, how: &str) -> bool {
    let missing = format!("`{what}` is missing; get it with `{how}`");
    assert!(!required(), "{missing}");
    eprintln!("skipped: {missing}");
    false
}
