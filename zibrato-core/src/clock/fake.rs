use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::ticks;
use crate::registry;

thread_local! {
    static FAKE: RefCell<Option<Fake>> = const { RefCell::new(None) };
}

/// What the calling thread's fake says, where one is in force.
#[inline]
pub(super) fn now() -> Option<u64> {
    if ticks::has_fakes() { now_here() } else { None }
}

#[cold]
fn now_here() -> Option<u64> {
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
    now: Arc<AtomicU64>,
}

impl Fake {
    /// A clock that says `nanos` since 1970.
    pub fn at(nanos: u64) -> Self {
        Fake { now: Arc::new(AtomicU64::new(nanos)) }
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        self.now.fetch_add(by.as_nanos() as u64, Relaxed);
    }

    /// Moves it back, as a clock does whose thread goes on at another core with a counter of its own.
    pub fn rewind(&self, by: Duration) {
        self.now.fetch_sub(by.as_nanos() as u64, Relaxed);
    }

    /// Puts it in force on this thread until the guard is dropped. What is being timed must begin and end by the same
    /// clock, so a timer that runs now, or still runs then, is off by the difference of the two.
    pub fn enter(&self) -> Entered {
        let before = FAKE.with(|fake| fake.borrow_mut().replace(self.clone()));
        ticks::begin_fake();
        registry::tell_sites();
        Entered { before, _on_this_thread: PhantomData }
    }
}

/// Keeps a [`Fake`] in force on this thread.
#[derive(Debug)]
#[must_use = "the fake clock is in force until this is dropped"]
pub struct Entered {
    before: Option<Fake>,
    _on_this_thread: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        // Where the thread-local is gone already there is nothing to put back.
        let _ = FAKE.try_with(|fake| fake.replace(self.before.take()));
        ticks::end_fake();
        registry::tell_sites();
    }
}
