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
}

/// A lock held together with its queue, so that nobody else is inside either.
#[derive(Debug)]
pub(crate) struct Whole<T: 'static> {
    _value: MutexGuard<'static, T>,
    _next: MutexGuard<'static, ()>,
}

impl<T> Lock<T> {
    pub(super) const fn new(value: T) -> Self {
        Lock { next: Mutex::new(()), value: Mutex::new(value) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let _next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lock_whole(&'static self) -> Whole<T> {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        Whole { _value: self.value.lock().unwrap_or_else(PoisonError::into_inner), _next: next }
    }
}
