use std::ops::Deref;
use std::thread::LocalKey;

/// A thread-local of the calling thread, of a type that has no destructor: it stays until the thread has ended.
///
/// It comes only out of [`local`], so whoever has one may keep the address for the thread's life.
#[derive(Debug)]
pub(crate) struct Local<'a, T>(&'a T);

impl<T> Clone for Local<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Local<'_, T> {}

impl<T> Deref for Local<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        self.0
    }
}

impl<'a, T> Local<'a, T> {
    /// A part of it, which stays as long.
    #[inline(always)]
    pub(super) fn part<P>(self, part: impl FnOnce(&'a T) -> &'a P) -> Local<'a, P> {
        Local(part(self.0))
    }

    pub(crate) fn address(self) -> *const T {
        self.0
    }
}

/// Calls `with` with the calling thread's own.
#[inline(always)]
pub(crate) fn local<T, R>(key: &'static LocalKey<T>, with: impl FnOnce(Local<'_, T>) -> R) -> R {
    const { assert!(!std::mem::needs_drop::<T>()) };
    // A type without a destructor can be reached at any time, so `with` does not panic.
    key.with(|own| with(Local(own)))
}
