//! The state directories of workers: finding them, and reading those that belong together.

use std::path::{Path, PathBuf};

use zibrato_worker::{Amount, Snapshot};

/// How deep below the place for state directories are looked for.
const DEPTH: usize = 2;

/// A worker, or the workers that share the load of one: their state directories.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) snapshots: Vec<Snapshot>,
}

impl Group {
    /// Those that belong together of some.
    pub(crate) fn of(snapshots: Vec<Snapshot>) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for snapshot in snapshots {
            let shares = |other: &Snapshot| {
                snapshot.shard.count() > 1
                    && other.shard.count() == snapshot.shard.count()
                    && other.backend == snapshot.backend
                    && other.directory.parent() == snapshot.directory.parent()
            };
            match groups.iter_mut().find(|group| group.snapshots.iter().all(shares)) {
                Some(group) => group.snapshots.push(snapshot),
                None => groups.push(Group { snapshots: vec![snapshot] }),
            }
        }
        groups
    }

    /// The backend; nothing where none has used the directory.
    pub(crate) fn backend(&self) -> &str {
        self.snapshots.first().and_then(|snapshot| snapshot.backend.as_deref()).unwrap_or_default()
    }

    /// The backend, and which worker where there are several of it.
    pub(crate) fn name(&self) -> String {
        let Some(first) = self.snapshots.first() else { return String::new() };
        let backend = first.backend.as_deref().unwrap_or("?");
        let directory = first.directory.display();
        match self.snapshots.len() {
            1 if self.is_whole() => format!("{backend} ({directory})"),
            1 => format!("{backend} {} ({directory})", first.shard),
            shards => format!(
                "{backend} ({shards} shards in {})",
                first.directory.parent().unwrap_or(&first.directory).display()
            ),
        }
    }

    /// Whether all who share the load are there.
    pub(crate) fn is_whole(&self) -> bool {
        let count = self.snapshots.first().map_or(1, |snapshot| snapshot.shard.count());
        let mut indexes: Vec<u32> = self.snapshots.iter().map(|snapshot| snapshot.shard.index()).collect();
        indexes.sort_unstable();
        indexes.dedup();
        indexes.len() == count as usize
    }

    /// Whether a level is listened to.
    pub(crate) fn listens(&self, level: &str) -> bool {
        level != zibrato_core::level::TRACE
            && self.snapshots.iter().any(|snapshot| snapshot.since.get(level).is_some())
    }

    /// All of something of each.
    pub(crate) fn sum(&self, of: impl Fn(&Snapshot) -> Amount) -> Amount {
        self.snapshots.iter().map(of).sum()
    }
}

/// What is in the outbox.
pub(crate) fn waiting(snapshot: &Snapshot) -> Amount {
    snapshot.batches.iter().map(|batch| batch.amount).sum()
}

/// The state directories of this user's or service's workers, where programs put them unless they were told otherwise.
pub(crate) fn find() -> Vec<PathBuf> {
    let place = |variable| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user = place("XDG_STATE_HOME").or_else(|| place("LOCALAPPDATA")).map(|user| user.join("zibrato"));
    let user = user.or_else(|| place("HOME").map(|home| home.join(".local/state/zibrato")));
    let services = std::fs::read_dir("/var/lib").into_iter().flatten().flatten();
    let services = services.filter(|entry| entry.file_name().to_string_lossy().starts_with("zibrato"));
    let mut found = Vec::new();
    for place in
        [place("STATE_DIRECTORY"), user].into_iter().flatten().chain(services.map(|entry| entry.path()))
    {
        search(&place, DEPTH, &mut found);
    }
    found.sort();
    found.dedup();
    found
}

fn search(directory: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    if directory.join("state.db").is_file() {
        found.push(directory.into());
    }
    if depth == 0 {
        return;
    }
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|file| file.is_dir()) {
            search(&entry.path(), depth - 1, found);
        }
    }
}
