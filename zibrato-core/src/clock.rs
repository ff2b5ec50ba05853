//! Time: a monotonic clock for durations, anchored once to the calendar, and replaceable in tests.

use std::cell::RefCell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How many fakes are in use; 0 keeps the fast path to one load and a branch.
static FAKES: AtomicUsize = AtomicUsize::new(0);
static ANCHOR: OnceLock<(Instant, u64)> = OnceLock::new();

thread_local! {
    static FAKE: RefCell<Option<Fake>> = const { RefCell::new(None) };
}

fn anchor() -> (Instant, u64) {
    *ANCHOR.get_or_init(|| {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (Instant::now(), unix.as_nanos() as u64)
    })
}

/// Nanoseconds of a clock that never goes back; only differences mean something.
#[inline]
pub fn nanos() -> u64 {
    if FAKES.load(Relaxed) > 0
        && let Some(now) = fake_now()
    {
        return now;
    }
    let (start, unix) = anchor();
    unix.saturating_add(Instant::now().saturating_duration_since(start).as_nanos() as u64)
}

/// The time as frames carry it: nanoseconds since 1970 UTC, as the calendar stood when the process first asked,
/// and monotonic from there on.
pub fn unix_nanos() -> u64 {
    nanos()
}

#[cold]
fn fake_now() -> Option<u64> {
    FAKE.try_with(|fake| fake.borrow().as_ref().map(|f| f.now.load(Relaxed))).ok().flatten()
}

/// A clock for tests, which stands still until it is moved.
///
/// It is in force on the threads that [`Fake::enter`] it, so tests that run side by side do not disturb each
/// other.
///
/// ```
/// use std::time::Duration;
/// use zibrato_core::clock::{self, Fake};
///
/// let clock = Fake::at(1_000);
/// let _entered = clock.enter();
/// clock.advance(Duration::from_nanos(5));
/// assert_eq!(clock::nanos(), 1_005);
/// ```
#[derive(Debug, Clone)]
pub struct Fake {
    now: std::sync::Arc<AtomicU64>,
}

impl Fake {
    /// A clock that says `nanos` since 1970.
    pub fn at(nanos: u64) -> Self {
        Fake { now: std::sync::Arc::new(AtomicU64::new(nanos)) }
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        self.now.fetch_add(by.as_nanos() as u64, Relaxed);
    }

    /// Puts it in force on this thread until the guard is dropped.
    pub fn enter(&self) -> Entered {
        let before = FAKE.with(|fake| fake.borrow_mut().replace(self.clone()));
        FAKES.fetch_add(1, Relaxed);
        Entered { before, _on_this_thread: std::marker::PhantomData }
    }
}

/// Keeps a [`Fake`] in force on this thread.
#[derive(Debug)]
#[must_use = "the fake clock is in force until this is dropped"]
pub struct Entered {
    before: Option<Fake>,
    _on_this_thread: std::marker::PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        FAKES.fetch_sub(1, Relaxed);
        // Where the thread-local is gone already there is nothing to put back.
        let _ = FAKE.try_with(|fake| fake.replace(self.before.take()));
    }
}
