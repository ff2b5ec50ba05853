//! Measuring in a signal handler, which the documentation advises against: it may lose what it interrupts, but it does
//! not hang.
#![cfg(unix)]
#![allow(unsafe_code, reason = "signal handlers are unsafe to install")]

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use zibrato::{Counter, count, gauge, timing};
use zibrato_core::frame::State;
use zibrato_core::registry;

static HANDLED: AtomicI64 = AtomicI64::new(0);
static HANDLE: OnceLock<Counter> = OnceLock::new();

extern "C" fn handler(_signal: libc::c_int) {
    HANDLED.fetch_add(1, Relaxed);
    measure();
}

fn measure() {
    count!("signals.handled");
    timing!("signals.time", Duration::from_nanos(1_000));
    gauge!("signals.gauge", 1);
    if let Some(counter) = HANDLE.get() {
        counter.add(1);
    }
}

#[test]
fn a_handler_that_interrupts_the_registry_does_not_hang() {
    assert!(HANDLE.set(zibrato::counter("signals.handle").handle()).is_ok());
    // SAFETY: the handler stores to atomics and to cells of its thread, which the thread has made before.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as extern "C" fn(libc::c_int) as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()), 0);
    }
    let (told, tell) = mpsc::channel();
    let stop = AtomicBool::new(false);
    let warmed = 1;
    thread::scope(|scope| {
        let (stop, told) = (&stop, told);
        let worker = scope.spawn(move || {
            measure();
            // SAFETY: it only asks for the thread's own handle.
            told.send(unsafe { libc::pthread_self() }).expect("the test waits");
            while !stop.load(Relaxed) {
                // Inside the registry's lock, most of the time.
                registry::census();
                zibrato::counter("signals.short").handle().add(1);
                count!("signals.loop");
            }
        });
        let thread = tell.recv_timeout(Duration::from_secs(20)).expect("the worker runs");
        for sent in 1..=5_000 {
            // SAFETY: the thread is alive until it is told to stop.
            assert_eq!(unsafe { libc::pthread_kill(thread, libc::SIGUSR1) }, 0);
            // Signals that are sent before the last one was taken are lost.
            let deadline = std::time::Instant::now() + Duration::from_secs(20);
            while HANDLED.load(Relaxed) < sent {
                assert!(std::time::Instant::now() < deadline, "the handler hangs after {sent} signals");
                std::hint::spin_loop();
            }
        }
        stop.store(true, Relaxed);
        worker.join().expect("no panic");
    });
    let handled = HANDLED.load(Relaxed) + warmed;
    // Nothing but the handler measures at these places, so even they are exact.
    for reading in registry::read() {
        match (&*reading.id.name, &reading.state) {
            ("signals.handled" | "signals.handle", State::Total(total)) => {
                assert_eq!(total.whole, handled, "{}", reading.id.name);
            }
            ("signals.time", State::Spread(spread)) => assert_eq!(spread.histogram.count() as i64, handled),
            _ => {}
        }
    }
}
