use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A lock that is fair, and that a forked child may go on with.
///
/// It is made of the standard library's mutexes, which are words of the process's own memory. Those of
/// `parking_lot` keep who waits in a table, and hand the lock over to the first of them: in a forked child to a
/// thread that does not exist there, so that the child would wait for ever.
#[derive(Debug)]
pub(crate) struct Lock<T> {
    /// Held by the one who is next, so that a reader that comes again at once queues behind it.
    next: Mutex<()>,
    value: Mutex<T>,
    /// Handed from holder to holder. The mutex orders them already, but waits in precompiled code of the standard
    /// library, into which ThreadSanitizer does not see.
    passed: AtomicBool,
}

/// What is under the lock, for as long as this is held.
#[derive(Debug)]
pub(crate) struct Held<'a, T> {
    value: MutexGuard<'a, T>,
    passed: &'a AtomicBool,
}

/// A lock held together with its queue, so that nobody else is inside either.
#[derive(Debug)]
pub(crate) struct Whole<T: 'static> {
    _value: Held<'static, T>,
    _next: MutexGuard<'static, ()>,
}

impl<T> Lock<T> {
    pub(super) const fn new(value: T) -> Self {
        Lock { next: Mutex::new(()), value: Mutex::new(value), passed: AtomicBool::new(false) }
    }

    pub(crate) fn lock(&self) -> Held<'_, T> {
        let _next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        self.take()
    }

    pub(crate) fn lock_whole(&'static self) -> Whole<T> {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        Whole { _value: self.take(), _next: next }
    }

    fn take(&self) -> Held<'_, T> {
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        self.passed.load(Ordering::Acquire);
        Held { value, passed: &self.passed }
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        // Before the mutex is released, which is when the fields are dropped.
        self.passed.store(true, Ordering::Release);
    }
}
