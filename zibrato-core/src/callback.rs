//! What is to be called before the registry is read.
//!
//! Some values are not worth measuring whenever they change, or belong to somebody who does not tell: they are sampled.
//! Whoever reads the registry calls [`call_all`] first.

use std::io::Write;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::{Arc, Mutex};

use crate::cell::fork;
use crate::per_process::PerProcess;

static CALLBACKS: PerProcess<Vec<Arc<Entry>>> = PerProcess::new(Vec::new());

struct Entry {
    call: Mutex<Box<dyn FnMut() + Send>>,
    registered: &'static Location<'static>,
}

/// Keeps a callback in use; dropped, it removes it.
///
/// The drop does not wait for a call that has begun. It does nothing in a forked child, which has no callbacks but its
/// own.
#[must_use = "dropping this removes the callback; keep it, or call `detach`"]
pub struct Callback(Arc<Entry>);

impl Callback {
    /// Keeps the callback in use until the process ends.
    pub fn detach(self) {
        std::mem::forget(self);
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        drop(remove(Arc::as_ptr(&self.0)));
    }
}

impl std::fmt::Debug for Callback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Callback({})", self.0.registered)
    }
}

/// Calls `callback` before each read, on the thread that reads, until the guard is dropped.
#[track_caller]
pub fn on_read(callback: impl FnMut() + Send + 'static) -> Callback {
    fork::watch();
    let entry = Entry { call: Mutex::new(Box::new(callback)), registered: Location::caller() };
    let entry = Arc::new(entry);
    CALLBACKS.lock().push(entry.clone());
    Callback(entry)
}

/// Calls every callback once, in the order in which they were registered. One that panics is said on stderr and
/// removed; the others are called all the same.
pub fn call_all() {
    // The lock is not held meanwhile: callbacks may come and go in callbacks.
    let entries = CALLBACKS.lock().clone();
    for entry in entries {
        let called = quietly(|| {
            // Busy only where an earlier publisher, of which nobody knows any more, is still in it.
            if let Ok(mut call) = entry.call.try_lock() {
                call();
            }
        });
        let mut removed = None;
        if !called {
            removed = remove(Arc::as_ptr(&entry));
            // Unlike `eprintln`, this does not panic where nobody takes it.
            let _ = writeln!(
                std::io::stderr(),
                "zibrato: the callback registered at {} has panicked, and is not called any more",
                entry.registered
            );
        }
        // These may be the last owners, and what the callback owns may panic as it goes.
        quietly(move || drop((removed, entry)));
    }
}

/// What comes back is to be dropped outside of the lock.
fn remove(which: *const Entry) -> Option<Arc<Entry>> {
    let mut entries = CALLBACKS.lock();
    let at = entries.iter().position(|entry| Arc::as_ptr(entry) == which)?;
    Some(entries.remove(at))
}

/// Runs somebody else's code; `false` if it panicked.
fn quietly(work: impl FnOnce()) -> bool {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(()) => true,
        Err(payload) => {
            // What it panicked with has a destructor, too. Whatever that panics with is let go of.
            if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                std::mem::forget(again);
            }
            false
        }
    }
}
