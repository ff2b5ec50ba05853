//! What all scrapes get until the next batch.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use zibrato_worker::Batch;

use super::store::Store;
use crate::exposition::{Family, Format, Style, render};

/// All series at one moment. Each format is written once, when it is first asked for.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    families: Vec<Family>,
    /// When the first of its series gets stale.
    expires: Option<Instant>,
    plain: [OnceLock<Bytes>; Format::ALL.len()],
    gzip: [OnceLock<Bytes>; Format::ALL.len()],
}

impl Snapshot {
    /// The body of an answer; slow when it is asked for the first time.
    pub(super) fn body(&self, format: Format, gzip: bool, style: &Style) -> Bytes {
        // A format is its own index: `Format::ALL` has them in order.
        let index = format as usize;
        let plain = || self.plain[index].get_or_init(|| render(&self.families, format, style).into());
        if gzip { self.gzip[index].get_or_init(|| compress(plain())).clone() } else { plain().clone() }
    }
}

fn compress(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 8), Compression::fast());
    // Writing into a `Vec` cannot fail, and an empty body is no valid one.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default().into()
}

/// What batches are put into and scrapes are answered from.
#[derive(Debug)]
pub(super) struct Shelf {
    store: Mutex<Store>,
    current: Mutex<Arc<Snapshot>>,
    ready: AtomicBool,
    pub(super) style: Style,
}

impl Shelf {
    pub(super) fn new(store: Store, style: Style) -> Shelf {
        Shelf { store: Mutex::new(store), current: Mutex::default(), ready: AtomicBool::new(false), style }
    }

    /// Whether there is something to be scraped.
    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Puts a batch in; scrapes that begin from now on have it.
    pub(super) fn put(&self, batch: &Batch, now: Instant) {
        let mut store = lock(&self.store);
        store.take(batch, now);
        self.renew(&mut store, now);
        self.ready.store(true, Ordering::Release);
    }

    /// What a scrape at this time gets.
    pub(super) fn snapshot(&self, now: Instant) -> Arc<Snapshot> {
        let current = lock(&self.current).clone();
        if current.expires.is_none_or(|at| now < at) {
            return current;
        }
        self.renew(&mut lock(&self.store), now);
        lock(&self.current).clone()
    }

    fn renew(&self, store: &mut Store, now: Instant) {
        let expires = store.prune(now);
        let snapshot = Snapshot { families: store.families(), expires, ..Snapshot::default() };
        *lock(&self.current) = Arc::new(snapshot);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half done where a panic could be.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
