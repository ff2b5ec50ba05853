//! What each thread remembers of the metrics that it asked for.
//!
//! The thread's table knows its instruments weakly; what keeps them is a list beside it, which any thread may thin
//! out. So asking takes no lock and writes to no line that another thread writes, and yet a thread that sleeps for
//! ever keeps nothing for ever.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::Duration;

use metrics::{Key, Level, Metadata};
use zibrato_core::clock;

use super::instrument::{Instrument, Kind};

/// Most metrics that one thread remembers.
const MOST: usize = 8192;
/// How many places there are for a key.
const WINDOW: usize = 8;
/// How many places a thread's table begins with.
const FEWEST: usize = 64;
/// What nobody has asked for in this time, or twice this time, is forgotten.
const IDLE: Duration = Duration::from_secs(60);
/// After so many questions a thread looks whether there is something to forget.
const LOOK: u32 = 4096;

thread_local! {
    static BUSY: Cell<bool> = const { Cell::new(false) };
    static TABLE: RefCell<Table> = const { RefCell::new(Table::new()) };
}

/// The lists of all threads. Nothing waits for this lock, nor for the lists': in a forked child they may be held by
/// threads that it does not have.
static LISTS: Mutex<Vec<Weak<List>>> = Mutex::new(Vec::new());
/// When the lists were last thinned out.
static THINNED: AtomicU64 = AtomicU64::new(0);

/// What keeps one thread's instruments, by their places in the table.
type List = Mutex<Vec<Option<Arc<Instrument>>>>;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The recorder's number.
    pub(super) recorder: u64,
    pub(super) kind: Kind,
    pub(super) key: &'a Key,
    pub(super) metadata: &'a Metadata<'a>,
}

#[derive(Debug)]
struct Place {
    recorder: u64,
    kind: Kind,
    level: Level,
    target: Box<str>,
    key: Key,
    instrument: Weak<Instrument>,
}

#[derive(Debug)]
struct Table {
    places: Vec<Option<Place>>,
    list: Option<Arc<List>>,
    is_listed: bool,
    asked: u32,
}

/// The instrument that is asked for, made where this thread does not remember one. `None` where the thread is in here
/// already, which an allocator that measures comes to.
#[inline]
pub(super) fn instrument(asked: Asked<'_>, make: impl FnOnce() -> Instrument) -> Option<Arc<Instrument>> {
    if BUSY.replace(true) {
        return None;
    }
    let _inside = Inside;
    let mut make = Some(make);
    let mut make = || make.take().map(|make| Arc::new(make()));
    match TABLE.try_with(|table| table.try_borrow_mut().ok().and_then(|mut t| t.get(asked, &mut make))) {
        Ok(Some(instrument)) => Some(instrument),
        // The thread is ending, and remembers nothing any more.
        _ => make(),
    }
}

struct Inside;

impl Drop for Inside {
    fn drop(&mut self) {
        BUSY.set(false);
    }
}

fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(held) => Some(held),
        Err(TryLockError::Poisoned(held)) => Some(PoisonError::into_inner(held)),
        Err(TryLockError::WouldBlock) => None,
    }
}

impl Place {
    #[inline]
    fn is(&self, asked: &Asked<'_>) -> bool {
        self.key.get_hash() == asked.key.get_hash()
            && self.recorder == asked.recorder
            && self.kind == asked.kind
            && self.level == *asked.metadata.level()
            && *self.target == *asked.metadata.target()
            && self.key == *asked.key
    }
}

impl Table {
    const fn new() -> Self {
        Table { places: Vec::new(), list: None, is_listed: false, asked: 0 }
    }

    /// The places for a hash, as far as there are any.
    #[inline]
    fn window(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let mask = self.places.len().wrapping_sub(1);
        let start = (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize;
        (0..WINDOW.min(self.places.len())).map(move |i| (start + i) & mask)
    }

    #[inline]
    fn get(
        &mut self,
        asked: Asked<'_>,
        make: &mut impl FnMut() -> Option<Arc<Instrument>>,
    ) -> Option<Arc<Instrument>> {
        self.asked = self.asked.wrapping_add(1);
        if self.asked.is_multiple_of(LOOK) {
            thin_out();
        }
        for at in self.window(asked.key.get_hash()) {
            if let Some(place) = self.places[at].as_ref().filter(|place| place.is(&asked))
                && let Some(instrument) = place.instrument.upgrade()
            {
                instrument.mark_used();
                return Some(instrument);
            }
        }
        self.miss(asked, make)
    }

    #[cold]
    fn miss(
        &mut self,
        asked: Asked<'_>,
        make: &mut impl FnMut() -> Option<Arc<Instrument>>,
    ) -> Option<Arc<Instrument>> {
        thin_out();
        let instrument = make()?;
        let list = self.list.get_or_insert_default().clone();
        if !self.is_listed
            && let Some(mut lists) = try_lock(&LISTS)
        {
            lists.push(Arc::downgrade(&list));
            self.is_listed = true;
        }
        if let Some(mut kept) = try_lock(&list) {
            let at = self.room(&asked, &mut kept);
            self.places[at] = Some(Place {
                recorder: asked.recorder,
                kind: asked.kind,
                level: *asked.metadata.level(),
                target: asked.metadata.target().into(),
                key: asked.key.to_retained(),
                instrument: Arc::downgrade(&instrument),
            });
            kept[at] = Some(instrument.clone());
        }
        Some(instrument)
    }

    /// A place for what is asked, where there was nothing or something that had to go.
    fn room(&mut self, asked: &Asked<'_>, kept: &mut Vec<Option<Arc<Instrument>>>) -> usize {
        let hash = asked.key.get_hash();
        loop {
            let is_free = |at: &usize| match &self.places[*at] {
                Some(place) => place.instrument.strong_count() == 0 || place.is(asked),
                None => true,
            };
            if let Some(at) = self.window(hash).find(is_free) {
                return at;
            }
            if self.places.len() >= MOST {
                // One of them, by turns.
                return self.window(hash).nth(self.asked as usize % WINDOW).unwrap_or_default();
            }
            self.grow(kept);
        }
    }

    /// Doubles the table. What finds no place in it any more is forgotten.
    fn grow(&mut self, kept: &mut Vec<Option<Arc<Instrument>>>) {
        let len = (self.places.len() * 2).max(FEWEST);
        let places = std::mem::take(&mut self.places);
        let instruments = std::mem::take(kept);
        self.places.resize_with(len, || None);
        kept.resize_with(len, || None);
        for (place, instrument) in places.into_iter().zip(instruments) {
            if let Some(place) = place
                && let Some(at) = self.window(place.key.get_hash()).find(|&at| self.places[at].is_none())
            {
                (self.places[at], kept[at]) = (Some(place), instrument);
            }
        }
    }
}

/// Lets go, if it is time, of what no thread has asked for since it was last time and nobody holds.
fn thin_out() {
    let (now, last) = (clock::nanos(), THINNED.load(Relaxed));
    if now.saturating_sub(last) < IDLE.as_nanos() as u64 {
        return;
    }
    // One thread does it.
    if THINNED.compare_exchange(last, now, Relaxed, Relaxed).is_err() {
        return;
    }
    let Some(mut lists) = try_lock(&LISTS) else { return };
    lists.retain(|list| {
        let Some(list) = list.upgrade() else { return false };
        if let Some(mut kept) = try_lock(&list) {
            for place in &mut *kept {
                // Nobody holds it but the list. Where its thread asks for it right now it stays with that one, and
                // is made once more afterwards.
                place.take_if(|instrument| Arc::strong_count(instrument) == 1 && !instrument.take_used());
            }
        }
        true
    });
}
