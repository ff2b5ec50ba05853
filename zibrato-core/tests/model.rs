//! The register, read and thread-exit protocol on all interleavings, with the shipped cells on loom's atomics.

#![allow(unsafe_code, reason = "the model plays the part of a thread that owns cells")]
#![allow(clippy::unwrap_used, reason = "a test")]

use loom::sync::atomic::{AtomicU64, Ordering::Relaxed};
use loom::sync::{Arc, Mutex};
use loom::thread;
use zibrato_core::cell::{Roster, Word, WordCell};

struct Model(AtomicU64);

impl Word for Model {
    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }
}

type Shared = Arc<Mutex<Roster<Model>>>;

/// What a thread does with its cell of metric 0: `events` increments, enlisting when told to, then its exit.
fn live(roster: &Shared, number: usize, events: u64) {
    let cell = WordCell::in_word(Model(AtomicU64::new(0)));
    for _ in 0..events {
        if cell.add(1) {
            // SAFETY: the cell is this thread's, which leaves below, before the cell goes.
            unsafe { roster.lock().unwrap().enlist(number, 0, &cell, 1) };
        }
    }
    roster.lock().unwrap().leave(number);
}

fn total(roster: &Shared) -> u64 {
    let mut sum = 0;
    roster.lock().unwrap().read(|_, n| sum += n);
    sum
}

#[test]
fn nothing_is_lost_or_doubled_when_threads_come_and_go() {
    loom::model(|| {
        let roster: Shared = Arc::new(Mutex::new(Roster::new()));
        let threads: Vec<_> = (0..2)
            .map(|number| {
                let roster = roster.clone();
                thread::spawn(move || live(&roster, number, 2))
            })
            .collect();
        let first = total(&roster);
        let second = total(&roster);
        assert!(first <= second && second <= 4, "a total went back: {first}, {second}");
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!((total(&roster), roster.lock().unwrap().live_cells()), (4, 0));
    });
}

#[test]
fn a_live_thread_is_read_exactly_after_a_hand_over() {
    loom::model(|| {
        let roster: Shared = Arc::new(Mutex::new(Roster::new()));
        let counted = Arc::new(AtomicU64::new(0));
        let writer = {
            let (roster, counted) = (roster.clone(), counted.clone());
            thread::spawn(move || {
                let cell = WordCell::in_word(Model(AtomicU64::new(0)));
                for _ in 0..2 {
                    if cell.add(1) {
                        // SAFETY: the cell is this thread's, which leaves below.
                        unsafe { roster.lock().unwrap().enlist(0, 0, &cell, 1) };
                    }
                    counted.fetch_add(1, loom::sync::atomic::Ordering::Release);
                }
                roster.lock().unwrap().leave(0);
            })
        };
        let at_least = counted.load(loom::sync::atomic::Ordering::Acquire);
        assert!(total(&roster) >= at_least, "the reader missed what happened before it");
        writer.join().unwrap();
        assert_eq!(total(&roster), 2);
    });
}

#[test]
fn a_cell_starts_again_after_its_thread_has_left() {
    loom::model(|| {
        let roster: Shared = Arc::new(Mutex::new(Roster::new()));
        let reader = {
            let roster = roster.clone();
            thread::spawn(move || total(&roster))
        };
        let cell = WordCell::in_word(Model(AtomicU64::new(0)));
        for _ in 0..2 {
            assert!(cell.add(3), "a cell that is not enlisted says so");
            // SAFETY: the cell is this thread's, which leaves right after.
            unsafe { roster.lock().unwrap().enlist(0, 0, &cell, 3) };
            roster.lock().unwrap().leave(0);
        }
        assert!(cell.add(1));
        cell.take_back(1);
        assert!([0, 3, 6].contains(&reader.join().unwrap()));
        assert_eq!(total(&roster), 6);
    });
}
