//! What `deploy/` and `docs/operate.md` give operators, with the tools that they use.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

#[path = "../support/mod.rs"]
mod support;

mod alerts;
mod metrics;
mod rotation;
mod supervisor;
mod system_calls;
mod units;

use std::path::PathBuf;

/// A file of the workspace.
fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}
