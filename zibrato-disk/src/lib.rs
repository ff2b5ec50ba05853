//! What the broker and the workers have in common of their SQLite files: damage is found before it is believed, a
//! damaged file is moved aside without overwriting an earlier one, and what can still be read of it is read.
//!
//! Nothing here writes into a database.

mod aside;
mod damage;
mod header;
mod progress;
mod rescue;
mod seal;
mod wal;

pub use aside::{Aside, finish_replacing, replace};
pub use damage::{corrupt, is_damage};
pub use header::{Header, header};
pub use progress::Progress;
pub use rescue::{open_read_only, rescue};
pub use seal::seal;
pub use wal::{Wal, check_wal};

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A path with something added to its last part.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}
