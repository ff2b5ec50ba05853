use std::ops::Deref;
use std::ptr::NonNull;

/// A value on the heap that others reach by its address while it is owned here.
///
/// Unlike a `Box`, which claims to be the only way to its value whenever it is moved.
#[derive(Debug)]
pub(crate) struct Owned<T>(NonNull<T>);

// SAFETY: it owns its value like a `Box`; what others do through the address is their promise.
unsafe impl<T: Send + Sync> Send for Owned<T> {}

impl<T> Owned<T> {
    pub(crate) fn new(value: T) -> Self {
        Owned(NonNull::from(Box::leak(Box::new(value))))
    }

    pub(super) fn address(&self) -> *mut () {
        self.0.as_ptr().cast()
    }
}

impl<T> Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the value lives until this is dropped, and is only ever reached by shared reference.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: it came out of a box in `new`, and whoever had the address has lost it by now: the thread has
        // ended or the metric is gone.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}
