//! What the broker tells of rows that are marked for tracing.
//!
//! Whether a frame has any is a bit of its head: of all other frames no row is ever decoded.

use std::sync::Arc;

use zibrato_core::frame::{Flags, Head, decode};
use zibrato_core::level;
use zibrato_core::trace::{Event, Hop, Mark, Verdict};

use crate::shared::{Shared, add};

/// Whether a frame is to be told of.
pub(crate) fn is_traced(level: &str, head: &Head) -> bool {
    head.flags.has(Flags::TRACED) && level != level::TRACE
}

/// The marked rows of a frame that came at `time`, which is told.
pub(crate) fn received(shared: &Shared, level: &str, frame: &[u8], time: u64) -> Vec<Mark> {
    add(&shared.counters.traced, 1);
    let Ok(decoded) = decode(frame) else { return Vec::new() };
    let level: Arc<str> = level.into();
    let head = &decoded.frame.head;
    let marks = decoded.frame.rows.iter();
    let marks: Vec<Mark> =
        marks.filter_map(|row| Mark::of(head.instance, &level, head.sequence, row)).collect();
    tell(shared, Hop::BrokerReceived, marks.iter().cloned(), time);
    marks
}

/// Tells that rows were passed on.
pub(crate) fn passed_on(shared: &Shared, marks: Vec<Mark>) {
    tell(shared, Hop::BrokerPassedOn, marks, shared.clock.now());
}

fn tell(shared: &Shared, hop: Hop, marks: impl IntoIterator<Item = Mark>, time: u64) {
    let mut journal = shared.journal();
    for mark in marks {
        journal.tell(Event::new(hop, mark, time).with_verdict(Verdict::Ok, None));
    }
}
