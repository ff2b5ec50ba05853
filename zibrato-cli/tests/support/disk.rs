//! A disk that can be filled.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A small disk, which only root can have.
pub struct Disk(PathBuf);

impl Disk {
    /// So many MiB at a directory that is made; `None`, and a word of it, for who may not mount.
    pub fn mount(at: &Path, size: u32) -> Option<Disk> {
        std::fs::create_dir(at).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}m"), "tmpfs"])
            .arg(at)
            .status();
        if mount.is_ok_and(|status| status.success()) {
            return Some(Disk(at.into()));
        }
        assert!(std::env::var_os("CI").is_none(), "no disk could be mounted");
        println!("skipped: a small disk can be mounted by root only");
        None
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Leaves no room.
    pub fn fill(&self) {
        let mut size = 1 << 20;
        let mut filler = Vec::new();
        while size > 0 {
            let more = vec![0; size];
            match std::fs::write(self.0.join(format!("filler-{}", filler.len())), &more) {
                Ok(()) => filler.push(size),
                Err(_) => size /= 2,
            }
        }
    }

    /// Gives the room back.
    pub fn free(&self) {
        for entry in std::fs::read_dir(&self.0).unwrap().map(Result::unwrap) {
            if entry.file_name().to_string_lossy().starts_with("filler") {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
