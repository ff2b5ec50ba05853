//! Time: one clock for all processes, and other clocks for some of them.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of the machine's monotonic clock, which all processes share. It does not go through the C library, so
/// that a process with another clock has this one all the same.
pub fn monotonic() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// What Debian's package `libfaketime` installs.
const PLACES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

/// The library that gives processes another time of day; `None` where it is not installed.
pub fn library() -> Option<PathBuf> {
    PLACES.iter().map(PathBuf::from).find(|path| path.exists())
}

/// A file that says how far the time of day of a process is off.
#[derive(Debug, Clone)]
pub struct Wrong {
    library: PathBuf,
    file: PathBuf,
}

impl Wrong {
    /// A clock that is right as yet, told by a file of this name; `None` where the library is not installed.
    pub fn new(file: &Path) -> Option<Wrong> {
        let wrong = Wrong { library: library()?, file: file.to_path_buf() };
        wrong.set(0).ok()?;
        Some(wrong)
    }

    /// Has a process use it.
    pub fn give(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_CACHE_DURATION", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }

    /// Steps it: so many seconds ahead of, or behind, the right time.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set(&self, seconds: i64) -> std::io::Result<()> {
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}\n"))?;
        std::fs::rename(new, &self.file)
    }
}

/// Removes what the library leaves behind of a process that was killed.
pub fn clean_up(process: u32) {
    for name in [format!("sem.faketime_sem_{process}"), format!("faketime_shm_{process}")] {
        // Mostly there is none.
        let _ = std::fs::remove_file(Path::new("/dev/shm").join(name));
    }
}
