//! Last totals that no broker acknowledged, kept in files until somebody delivers them.
//!
//! A file is written whole under another name first.

mod records;
mod unfinished;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;
use zibrato_core::clock::{self, Moment};
use zibrato_core::frame::InstanceId;
pub use zibrato_transport::{BadKeys, Broker, KeyFiles};

use self::records::{Contents, Sets};
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
    /// Their times say when they were read, on the clock that their instance went by.
    sets: Sets,
    read_at: u64,
}

impl Spilled {
    fn new(path: PathBuf, contents: Contents) -> Spilled {
        let Contents { moment, mut sets } = contents;
        let read_at = clock::unix_nanos();
        let elapsed = elapsed_since(moment.as_ref());
        for frame in sets.values_mut().flatten() {
            let sent_at = &mut frame.head.sent_at;
            *sent_at = match elapsed {
                Some(elapsed) => sent_at.saturating_add(elapsed.as_nanos() as u64),
                None => read_at.max(*sent_at),
            };
        }
        Spilled { path, sets, read_at }
    }

    pub(super) fn parcels(&self) -> Vec<Parcel> {
        let parcel =
            |level: &String, frames: &Vec<_>| Parcel::of_spilled(level.clone(), frames.clone(), self.read_at);
        self.sets.iter().map(|((_, level, _), frames)| parcel(level, frames)).collect()
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
        Moment::now().as_ref(),
        parcels.iter().flat_map(|parcel| frames(parcel).map(|frame| (&*parcel.level, frame))),
    );
    let path = directory.join(format!("{instance}.{ENDING}"));
    let unfinished = path.with_extension(unfinished::ENDING_BEFORE);
    let save = || {
        std::fs::create_dir_all(directory)?;
        let mut file = std::fs::File::create(&unfinished)?;
        // Where that cannot be had, nobody takes it for left within a minute.
        let _ = file.try_lock();
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

/// Those with this ending.
fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == ending)).collect()
}

/// The files in a directory. One that is damaged is said and set aside.
pub(super) fn read(directory: &Path) -> Vec<Spilled> {
    unfinished::clear_up(directory);
    let read = |path: PathBuf| match std::fs::read(&path) {
        Ok(bytes) => match records::read(&bytes) {
            Some(contents) if is_too_old(&contents) => {
                say(format_args!(
                    "{} is older than 7 days, and may be counted already; left as it is",
                    path.display()
                ));
                None
            }
            Some(contents) => Some(Spilled::new(path, contents)),
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
    files(directory, ENDING).into_iter().filter_map(read).collect()
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

fn is_too_old(Contents { moment, sets }: &Contents) -> bool {
    let written = sets.values().flatten().map(|frame| frame.head.sent_at).max().unwrap_or(0);
    let by_calendar = || Duration::from_nanos(clock::unix_nanos().saturating_sub(written));
    elapsed_since(moment.as_ref()).unwrap_or_else(by_calendar) > HORIZON
}

fn elapsed_since(moment: Option<&Moment>) -> Option<Duration> {
    Moment::now()?.since(moment?)
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
    let troubles = hand_over.close(Duration::from_millis(100)).await;
    if done.left > 0 {
        troubles.iter().for_each(|trouble| say(format_args!("failed to {trouble}")));
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;
    use zibrato_core::clock::Fake;
    use zibrato_core::frame::{Kind, decode_head};
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

    /// The file as an earlier version has it: no checksum, and nothing of when it was written.
    fn as_version_1(path: &Path) {
        let bytes = std::fs::read(path).unwrap();
        let line_ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        std::fs::write(path, &bytes[line_ends.take(2).last().unwrap()..bytes.len() - 4]).unwrap();
    }

    /// How old the instance is by the frames that are sent at a time.
    fn ages(directory: &Path, now: u64) -> Vec<Duration> {
        let parcels = read(directory)[0].parcels();
        let frames = parcels.iter().flat_map(|parcel| parcel.frames(now));
        frames.map(|frame| Duration::from_nanos(decode_head(&frame).unwrap().age())).collect()
    }

    #[test]
    fn what_is_older_than_everybody_remembers_is_not_delivered() {
        let clock = Fake::at(clock::unix_nanos());
        let _entered = clock.enter();
        let (directory, path) = spilled();
        as_version_1(&path);
        clock.advance(HORIZON);
        assert_eq!(read(directory.path()).len(), 1);
        clock.advance(Duration::from_secs(1));
        assert_eq!(read(directory.path()).len(), 0);
    }

    #[test]
    fn a_clock_that_was_set_makes_nobody_older() {
        let (directory, _) = spilled();
        let before = ages(directory.path(), clock::unix_nanos());
        for hours in [-3.0, 3.0, 30.0 * 24.0] {
            let there = clock::unix_nanos().checked_add_signed((hours * 3.6e12) as i64).unwrap();
            let clock = Fake::at(there);
            let _entered = clock.enter();
            let after = ages(directory.path(), there + 1_000_000_000);
            assert_eq!(before.len(), after.len());
            for (before, after) in before.iter().zip(after) {
                let older = after.saturating_sub(*before);
                assert!((1..60).contains(&older.as_secs()), "by {older:?} after {hours} hours");
            }
        }
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
        as_version_1(&path);
        let now = clock::unix_nanos();
        assert!(ages(directory.path(), now).iter().all(|age| age.as_secs() < 60));
        assert!(ages(directory.path(), now + 3_600_000_000_000).iter().all(|age| age.as_secs() >= 3_600));
    }
}
