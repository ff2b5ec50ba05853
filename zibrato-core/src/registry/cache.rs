//! What each thread remembers of the metrics that it asked for by name, so that asking again takes no lock.

use std::cell::RefCell;
use std::hash::Hasher;
use std::sync::{Arc, Weak};

use rustc_hash::FxHasher;

use super::metric::{MetricSpec, Shared};
use crate::frame::Kind;

/// The most metrics that a thread remembers. A program that asks for more by turns takes the lock for some.
const MOST: usize = 1024;
const LEAST: usize = 16;

thread_local! {
    static CACHE: RefCell<Cache> = const { RefCell::new(Cache { entries: Vec::new(), used: 0 }) };
}

/// A table of which each entry has two places: that of its hash, and the one beside.
struct Cache {
    entries: Vec<Option<Entry>>,
    used: usize,
}

struct Entry {
    hash: u64,
    kind: Kind,
    statistics: bool,
    level: Box<str>,
    name: Box<str>,
    source: Option<Box<str>>,
    /// In the order in which they were given: another order is another entry.
    tags: Box<[(Box<str>, Box<str>)]>,
    metric: Weak<Shared>,
}

/// The metric of a specification, if this thread remembers it and it has not gone.
pub(super) fn find(spec: &MetricSpec<'_>) -> Option<Arc<Shared>> {
    // A thread that is ending remembers nothing; nor may an allocator that is measured look while the table grows.
    CACHE.try_with(|cache| cache.try_borrow().ok()?.find(spec)).ok()?
}

/// Remembers the metric of a specification.
pub(super) fn keep(spec: &MetricSpec<'_>, metric: &Arc<Shared>) {
    let _ = CACHE.try_with(|cache| {
        let Ok(mut cache) = cache.try_borrow_mut() else { return };
        cache.keep(Entry::new(spec, Arc::downgrade(metric)));
    });
}

fn hash_of(spec: &MetricSpec<'_>) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(spec.name.as_bytes());
    hasher.write(spec.level.as_bytes());
    hasher.write_u8(spec.kind as u8 * 2 + u8::from(spec.statistics));
    if let Some(source) = spec.source {
        hasher.write(source.as_bytes());
    }
    for (name, value) in spec.tags {
        hasher.write(name.as_bytes());
        hasher.write(value.as_bytes());
    }
    hasher.finish()
}

impl Entry {
    fn new(spec: &MetricSpec<'_>, metric: Weak<Shared>) -> Self {
        Entry {
            hash: hash_of(spec),
            kind: spec.kind,
            statistics: spec.statistics,
            level: spec.level.into(),
            name: spec.name.into(),
            source: spec.source.map(Into::into),
            tags: spec.tags.iter().map(|&(name, value)| (name.into(), value.into())).collect(),
            metric,
        }
    }

    fn is_of(&self, hash: u64, spec: &MetricSpec<'_>) -> bool {
        self.hash == hash
            && self.kind == spec.kind
            && self.statistics == spec.statistics
            && *self.name == *spec.name
            && *self.level == *spec.level
            && self.source.as_deref() == spec.source
            && self.tags.len() == spec.tags.len()
            && self.tags.iter().zip(spec.tags).all(|(own, tag)| *own.0 == *tag.0 && *own.1 == *tag.1)
    }
}

impl Cache {
    fn find(&self, spec: &MetricSpec<'_>) -> Option<Arc<Shared>> {
        let hash = hash_of(spec);
        let place = self.place(hash)?;
        let both = [place, place ^ 1].into_iter().filter_map(|at| self.entries.get(at)?.as_ref());
        let entry = both.into_iter().find(|entry| entry.is_of(hash, spec))?;
        let metric = entry.metric.upgrade()?;
        metric.ask_for();
        Some(metric)
    }

    fn place(&self, hash: u64) -> Option<usize> {
        // The low bits; where there is no table there is no place.
        self.entries.len().checked_sub(1).map(|mask| hash as usize & mask)
    }

    fn keep(&mut self, entry: Entry) {
        if self.used * 2 >= self.entries.len() && self.entries.len() < MOST {
            self.grow();
        }
        let Some(place) = self.place(entry.hash) else { return };
        let fits = |at: &usize| match &self.entries[*at] {
            None => true,
            // One that has gone has come again: two specifications have one hash as good as never.
            Some(old) => old.hash == entry.hash,
        };
        let at = [place, place ^ 1].into_iter().find(fits).unwrap_or(place);
        self.used += usize::from(self.entries[at].is_none());
        self.entries[at] = Some(entry);
    }

    fn grow(&mut self) {
        let len = (self.entries.len() * 2).clamp(LEAST, MOST);
        let mut empty = Vec::new();
        empty.resize_with(len, || None);
        let old = std::mem::replace(self, Cache { entries: empty, used: 0 });
        old.entries.into_iter().flatten().for_each(|entry| self.keep(entry));
    }
}
