use std::sync::{Mutex, MutexGuard, PoisonError};

use once_cell::race::OnceBox;

use crate::cell::fork;

/// A lock around something that a forked child does not take over: it finds an empty one.
///
/// A plain mutex that another thread held at the fork stays locked in the child for ever, because the child does not
/// have that thread. What was in it stays allocated there. Children are noticed after [`fork::watch`].
#[derive(Debug, Default)]
pub struct PerProcess<T> {
    value: Mutex<T>,
    /// That of the next generation. Nobody comes here before the fork that makes it.
    /// Not a `OnceLock`, which a fork could leave half filled for ever.
    child: OnceBox<PerProcess<T>>,
}

impl<T> PerProcess<T> {
    /// A lock whose value in this process is `value`.
    pub const fn new(value: T) -> Self {
        PerProcess { value: Mutex::new(value), child: OnceBox::new() }
    }
}

impl<T: Default> PerProcess<T> {
    /// Locks what belongs to this process. A panic of an earlier holder is no obstacle.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let mut place = self;
        for _ in 0..fork::forks() {
            place = place.child.get_or_init(Box::default);
        }
        place.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
