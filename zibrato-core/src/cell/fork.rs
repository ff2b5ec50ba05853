//! What happens to the registry when a process forks without exec.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static FORKS: AtomicU64 = AtomicU64::new(0);

/// How often this process has come out of a fork as the child, since [`watch`] was called in an ancestor.
pub fn forks() -> u64 {
    FORKS.load(Relaxed)
}

/// Makes forked children begin instances of their own, at zero. Harmless when called again.
///
/// Only unix has forks; elsewhere it does nothing.
pub fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        #[cfg(unix)]
        // SAFETY: the handlers only take and give back the registry's lock and, in the child, work on memory of
        // the process itself; allocating there is allowed, because the allocator has handlers of its own.
        unsafe {
            libc::pthread_atfork(Some(unix::prepare), Some(unix::parent), Some(unix::child));
        }
    });
}

#[cfg(unix)]
mod unix {
    use std::cell::Cell;
    use std::sync::atomic::Ordering::Relaxed;

    use crate::cell::thread::{begin_fork, end_fork};
    use crate::cell::with_registry;
    use crate::registry::{Inner, REGISTRY, Whole};

    thread_local! {
        /// Held over the fork by the forking thread, so that the child gets the registry in one piece.
        static HELD: Cell<Option<Whole<Inner>>> = const { Cell::new(None) };
    }

    pub(super) extern "C" fn prepare() {
        // A thread that is ending has no place to keep the guard; its child may find the registry locked.
        let _ = HELD.try_with(|held| held.set(Some(REGISTRY.lock_whole())));
        begin_fork();
    }

    pub(super) extern "C" fn parent() {
        let _ = HELD.try_with(|held| drop(held.take()));
        end_fork();
    }

    pub(super) extern "C" fn child() {
        parent();
        super::FORKS.fetch_add(1, Relaxed);
        with_registry(|inner, _| inner.after_fork());
    }
}
