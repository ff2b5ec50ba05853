//! Forking, as old programs do it.
#![allow(unsafe_code, reason = "fork is unsafe to call")]

/// Runs something in a forked child, which ends with it, and waits for that; whether the child was content.
pub fn in_child(work: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child only measures, writes and exits; measuring is made fit for that by fork handlers.
    let child = unsafe { libc::fork() };
    if child < 0 {
        return false;
    }
    if child == 0 {
        let content = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(false);
        // SAFETY: ends the child without running the parent's destructors.
        unsafe { libc::_exit(i32::from(!content)) };
    }
    let mut status = 0;
    // SAFETY: waits for the child that was just made.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    waited == child && status == 0
}
