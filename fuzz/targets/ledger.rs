//! Any frames are merged and settled without a panic, and what has been settled is not settled again.
//!
//! The input is the frames one after the other, each after its length in two bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zibrato_core::frame::decode;
use zibrato_core::ledger::{Arrival, Change, HORIZON, Ledger, Settled, Slacks};
use zibrato_core::level::Levels;

const BEGIN: u64 = 1_767_323_040_000_000_000;

fuzz_target!(|bytes: &[u8]| {
    let mut ledger = Ledger::new(Settled::default(), Slacks::default(), HORIZON);
    ledger.since_mut().begin(&Levels::default(), BEGIN);
    let mut frames = Vec::new();
    let mut rest = bytes;
    while let [high, low, tail @ ..] = rest {
        let (frame, tail) = tail.split_at(tail.len().min(usize::from(*high) << 8 | usize::from(*low)));
        frames.extend(decode(frame).ok().map(|decoded| decoded.frame));
        rest = tail;
    }
    for (number, frame) in frames.iter().enumerate() {
        let arrival = Arrival { now: BEGIN + number as u64 * 1_000_000_000, held: number as u64 % 3 };
        ledger.merge("info", frame.clone(), arrival);
        if number % 2 == 1 {
            ledger.first_sights().commit();
            ledger.settle(BEGIN).commit();
        }
    }
    ledger.settle(BEGIN).commit();
    let again = frames.len() as u64;
    for frame in frames {
        ledger.merge("info", frame, Arrival { now: BEGIN + again * 1_000_000_000, held: 0 });
    }
    let settlement = ledger.settle(BEGIN).commit();
    for delta in &settlement.deltas {
        assert!(matches!(delta.change, Change::Gauge { .. }), "settled twice: {delta:?}");
    }
});
