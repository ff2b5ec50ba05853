//! Sending: the builder, the guard and the background thread.

mod builder;
mod guard;
mod hand_over;
pub mod spill;
mod thread;

use std::io::Write;
use std::sync::MutexGuard;

pub use builder::{Builder, InstallError, builder};
pub use guard::Guard;

use zibrato_core::PerProcess;

use crate::status::Status;

/// The publisher that is installed, if there is one. A forked child has none, as it has no thread of its parent's.
static INSTALLED: PerProcess<Option<guard::Installed>> = PerProcess::new(None);

/// Tells people, if there is anybody: `eprintln` panics where nobody takes it.
fn say(what: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "zibrato: {what}");
}

fn installed() -> MutexGuard<'static, Option<guard::Installed>> {
    INSTALLED.lock()
}

/// Starts sending, as the environment says; see [`Builder`] for what can be said and how.
///
/// # Errors
/// When something in the environment cannot be understood, something is installed already, or the system has no
/// thread to give.
pub fn install() -> Result<Guard, InstallError> {
    builder().install()
}

pub(crate) fn fill_status(status: Status) -> Status {
    match installed().as_ref() {
        Some(installed) => installed.fill_status(status),
        None => status,
    }
}
