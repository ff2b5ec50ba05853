//! Disks of parts: small ones that can be filled and made read-only, where that may be done.

use std::io;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

/// A disk in memory, which only root can have.
#[derive(Debug)]
pub struct Disk(PathBuf);

impl Disk {
    /// So many MiB at a directory that is made.
    ///
    /// # Errors
    /// When it may not be mounted.
    pub fn mount(at: &Path, size: u32) -> io::Result<Disk> {
        std::fs::create_dir_all(at)?;
        let options = std::ffi::CString::new(format!("size={size}m"))?;
        mount("tmpfs", at, "tmpfs", MountFlags::empty(), Some(options.as_c_str()))?;
        Ok(Disk(at.into()))
    }

    /// Leaves no room.
    ///
    /// # Errors
    /// When it cannot be written for another reason.
    pub fn fill(&self) -> io::Result<()> {
        let (mut size, mut number) = (1 << 20, 0);
        while size > 0 {
            match std::fs::write(self.0.join(format!("filler-{number}")), vec![0; size]) {
                Ok(()) => number += 1,
                Err(why) if why.kind() == io::ErrorKind::StorageFull => size /= 2,
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn free(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.0)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("filler-") {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Makes it read-only, or lets it be written again. Nothing on it may be open for writing.
    ///
    /// # Errors
    /// When something is.
    pub fn set_read_only(&self, read_only: bool) -> io::Result<()> {
        let flags = if read_only { MountFlags::RDONLY } else { MountFlags::empty() };
        Ok(mount_remount(&self.0, flags, c"")?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What it has is gone with it in any case.
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}
