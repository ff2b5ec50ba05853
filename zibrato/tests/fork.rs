//! A forked child does not report what its parent has counted.
#![cfg(unix)]
#![allow(unsafe_code, reason = "fork is unsafe to call")]

mod support;

use support::TestBroker;
use zibrato::{builder, count};

#[test]
fn a_forked_child_starts_at_zero_in_an_instance_of_its_own() {
    let broker = TestBroker::start();
    let guard = builder().broker(&broker.url).install().expect("the parent installs");
    count!("fork.count", 1000);
    broker.wait_for("fork.count", 1000);
    // SAFETY: the child only measures, installs and exits; the registry is made fit for that by fork handlers.
    let child = unsafe { libc::fork() };
    if child == 0 {
        count!("fork.count", 5);
        let own = builder().broker(&broker.url).install();
        count!("fork.count", 2);
        let ok = own.map(drop).is_ok();
        // SAFETY: ends the child without running the parent's destructors.
        unsafe { libc::_exit(if ok { 0 } else { 1 }) };
    }
    count!("fork.count", 30);
    let mut status = 0;
    // SAFETY: waits for the child just made.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0, "the child installs and ends");
    drop(guard);
    assert_eq!(broker.total("fork.count"), 1037);
}
