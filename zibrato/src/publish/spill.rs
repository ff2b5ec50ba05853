//! Last totals that no broker acknowledged, kept in files until somebody delivers them.
//!
//! A file is written whole under another name first.

mod records;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;
use zibrato_core::clock;
use zibrato_core::frame::InstanceId;
pub use zibrato_transport::{BadKeys, Broker, KeyFiles};

use self::records::{Sets, sets};
use super::hand_over::{HandOver, Parcel};
use super::say;

/// How the files end.
const ENDING: &str = "zibrato";
/// For how long totals are remembered by those who receive them. What comes later may be counted a second time.
const HORIZON: Duration = Duration::from_secs(7 * 86_400);

/// A spilled file that could be read.
#[derive(Debug)]
pub(super) struct Spilled {
    pub(super) path: PathBuf,
    sets: Sets,
}

impl Spilled {
    pub(super) fn parcels(&self) -> Vec<Parcel> {
        self.sets
            .iter()
            .map(|((_, level, _), frames)| Parcel::of_spilled(level.clone(), frames.clone()))
            .collect()
    }
}

/// A file that could not be written.
#[derive(Debug)]
pub(super) struct NotWritten {
    path: PathBuf,
    why: std::io::Error,
}

impl std::fmt::Display for NotWritten {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "write {}: {}", self.path.display(), self.why)
    }
}

pub(super) fn write(
    directory: &Path,
    instance: InstanceId,
    parcels: &[Parcel],
) -> Result<PathBuf, NotWritten> {
    let now = clock::unix_nanos();
    let frames = |parcel: &Parcel| parcel.frames(now).into_iter();
    let bytes = records::written(
        parcels.iter().flat_map(|parcel| frames(parcel).map(|frame| (&*parcel.level, frame))),
    );
    let path = directory.join(format!("{instance}.{ENDING}"));
    let unfinished = path.with_extension("unfinished");
    let save = || {
        std::fs::create_dir_all(directory)?;
        let mut file = std::fs::File::create(&unfinished)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&unfinished, &path)?;
        sync(directory)
    };
    save()
        .inspect_err(|_| {
            // Half of it is of no use to anybody, and in the way on a full disk.
            let _ = std::fs::remove_file(&unfinished);
        })
        .map_err(|why| NotWritten { path: path.clone(), why })?;
    Ok(path)
}

/// Makes sure that a file's new name survives a power cut.
#[cfg(unix)]
fn sync(directory: &Path) -> std::io::Result<()> {
    std::fs::File::open(directory)?.sync_all()
}

/// Directories cannot be synchronised.
#[cfg(not(unix))]
fn sync(_: &Path) -> std::io::Result<()> {
    Ok(())
}

/// The files in a directory. One that is damaged is said and set aside.
pub(super) fn read(directory: &Path) -> Vec<Spilled> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == ENDING));
    let read = |path: PathBuf| match std::fs::read(&path) {
        Ok(bytes) => match sets(&bytes) {
            Some(sets) if is_too_old(&sets) => {
                say(format_args!(
                    "{} is older than 7 days, and may be counted already; left as it is",
                    path.display()
                ));
                None
            }
            Some(sets) => Some(Spilled { path, sets }),
            None => {
                set_aside(&path);
                None
            }
        },
        Err(e) => {
            say(format_args!("failed to read spilled totals from {}: {e}", path.display()));
            None
        }
    };
    paths.filter_map(read).collect()
}

fn set_aside(path: &Path) {
    let aside = path.with_extension("damaged");
    match std::fs::rename(path, &aside) {
        Ok(()) => say(format_args!(
            "{} is no file of spilled totals, or it is damaged; kept as {}",
            path.display(),
            aside.display()
        )),
        Err(why) => say(format_args!(
            "{} is no file of spilled totals, or it is damaged; failed to rename it: {why}",
            path.display()
        )),
    }
}

fn is_too_old(sets: &Sets) -> bool {
    let written = sets.values().flatten().map(|frame| frame.head.sent_at).max().unwrap_or(0);
    clock::unix_nanos().saturating_sub(written) > HORIZON.as_nanos() as u64
}

pub(super) fn remove(path: &Path) {
    if let Err(e) = std::fs::remove_file(path)
        && e.kind() != std::io::ErrorKind::NotFound
    {
        say(format_args!("failed to remove the delivered {}: {e}", path.display()));
    }
}

/// What [`deliver`] has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delivered {
    /// Files whose totals a broker has acknowledged; they have been removed.
    pub delivered: usize,
    /// Files that are still there.
    pub left: usize,
}

/// Delivers what is spilled in a directory to the brokers, within `deadline`. A [`Broker`] is made of its address, and
/// [`KeyFiles`] give it keys.
pub async fn deliver(directory: &Path, brokers: &[Broker], deadline: Duration) -> Delivered {
    let files = read(directory);
    if files.is_empty() {
        return Delivered::default();
    }
    let mut hand_over = HandOver::start(brokers);
    files.iter().for_each(|file| hand_over.add(file.parcels()));
    hand_over.until(Instant::now() + deadline, HandOver::is_done).await;
    let mut done = Delivered::default();
    for file in &files {
        if file.parcels().iter().all(|parcel| hand_over.is_acknowledged(parcel)) {
            remove(&file.path);
            done.delivered += 1;
        } else {
            done.left += 1;
        }
    }
    hand_over.close(Duration::from_millis(100)).await;
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;
    use zibrato_core::clock::Fake;
    use zibrato_core::frame::Kind;
    use zibrato_core::publish::Publisher;
    use zibrato_core::registry::{self, Counter, MetricSpec};

    /// A directory with a spilled file in it.
    fn spilled() -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        Counter::of(&MetricSpec {
            level: "info",
            kind: Kind::Counter,
            name: "spilled",
            source: None,
            tags: &[],
            statistics: false,
        })
        .add(1);
        let mut publisher = Publisher::new("me");
        let sets = publisher.finish(registry::read(), clock::unix_nanos());
        let parcels: Vec<Parcel> = sets.into_iter().map(Parcel::of_set).collect();
        let path = write(directory.path(), publisher.instance(), &parcels).unwrap();
        (directory, path)
    }

    #[test]
    fn what_is_older_than_everybody_remembers_is_not_delivered() {
        let clock = Fake::at(clock::unix_nanos());
        let _entered = clock.enter();
        let (directory, _) = spilled();
        clock.advance(HORIZON);
        assert_eq!(read(directory.path()).len(), 1);
        clock.advance(Duration::from_secs(1));
        assert_eq!(read(directory.path()).len(), 0);
    }

    #[test]
    fn a_file_that_was_changed_is_set_aside() {
        let (directory, path) = spilled();
        let sound = std::fs::read(&path).unwrap();
        assert_eq!(read(directory.path()).len(), 1);
        for at in 0..sound.len() {
            for changed in [
                [&sound[..at], &[sound[at] ^ 4], &sound[at + 1..]].concat(),
                sound[..at].to_vec(),
                [&sound[..at], &[0; 64], &sound[at..]].concat(),
            ] {
                std::fs::write(&path, &changed).unwrap();
                assert!(read(directory.path()).is_empty(), "changed at {at}");
                assert_eq!(std::fs::read(path.with_extension("damaged")).unwrap(), changed);
            }
        }
        assert!(!path.exists());
    }

    #[test]
    fn a_file_of_an_earlier_version_is_delivered() {
        let (directory, path) = spilled();
        let bytes = std::fs::read(&path).unwrap();
        let begin = bytes.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        std::fs::write(&path, &bytes[begin..bytes.len() - 4]).unwrap();
        assert_eq!(read(directory.path()).len(), 1);
    }
}
