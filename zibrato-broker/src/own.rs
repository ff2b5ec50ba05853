//! The broker's own metrics: it is an instance like any other, at level `zibrato`.

use std::sync::atomic::Ordering::Relaxed;

use zibrato_core::frame::{Flags, Gauge, Head, Key, Kind, Row, State, Tags, Total, encode_set};
use zibrato_core::limits;

use crate::shared::Shared;

/// Most levels that have metrics of their own.
const LEVELS: usize = 100;

/// The state of the broker as an instance.
#[derive(Default)]
pub(crate) struct Own {
    sequence: u64,
}

impl Own {
    /// The next complete set, in as many frames as it needs.
    pub(crate) fn set(&mut self, shared: &Shared, last: bool) -> Vec<Vec<u8>> {
        self.sequence += 1;
        let flags = if last { Flags::COMPLETE.with(Flags::LAST) } else { Flags::COMPLETE };
        let head = Head {
            instance: shared.instance,
            started_at: shared.clock.started_at(),
            sequence: self.sequence,
            base: self.sequence,
            part: 0,
            parts: 1,
            sent_at: shared.clock.now(),
            flags,
            source: shared.source.clone(),
        };
        encode_set(&head, &rows(shared), limits::FRAME)
    }
}

/// What the broker has counted, as rows.
pub(crate) fn rows(shared: &Shared) -> Vec<Row> {
    let counters = &shared.counters;
    let mut rows = Rows { shared, rows: Vec::new() };
    rows.counter("frames.in", Tags::none(), counters.frames_in.load(Relaxed));
    rows.counter("bytes.in", Tags::none(), counters.bytes_in.load(Relaxed));
    rows.counter("frames.out", Tags::none(), counters.frames_out.load(Relaxed));
    rows.counter("frames.dropped", Tags::none(), shared.dropped());
    rows.counter("acks", Tags::none(), counters.acks.load(Relaxed));
    rows.counter("asks", Tags::none(), counters.asks.load(Relaxed));
    rows.counter("asks.frames", Tags::none(), counters.answered.load(Relaxed));
    rows.counter("allowed.failures", Tags::none(), counters.bad_allowed.load(Relaxed));
    rows.counter("answers.broken", Tags::none(), counters.broken.load(Relaxed));
    rows.counter("state.unreadable", Tags::none(), counters.unreadable.load(Relaxed));
    let disk = shared.disk();
    rows.counter("state.damaged", Tags::none(), counters.damaged.load(Relaxed) + disk.damaged);
    rows.counter("state.failures", Tags::none(), disk.failures);
    rows.gauge("state.failing", f64::from(u8::from(disk.is_failing)));
    rows.gauge("state.waiting", disk.waiting as f64);
    rows.gauge("started", shared.clock.started_at() as f64 / 1e9);
    rows.counter("frames.traced", Tags::none(), counters.traced.load(Relaxed));
    let (told, dropped) = {
        let journal = shared.journal();
        (journal.told(), journal.dropped())
    };
    rows.counter("trace.events", Tags::none(), told);
    rows.counter("trace.dropped", Tags::none(), dropped);
    rows.counter("legacy.lines", Tags::none(), counters.lines_in.load(Relaxed));
    rows.counter("legacy.overflow", Tags::none(), counters.lines_over.load(Relaxed));
    for (reason, count) in shared.refusals.counts() {
        rows.counter("refused", Tags::new([("reason", reason)]), count);
    }
    let net = &shared.net;
    rows.counter("connections.accepted", Tags::none(), net.links.counts.accepted.load(Relaxed));
    rows.counter("connections.greeted", Tags::none(), net.links.counts.greeted.load(Relaxed));
    rows.counter("commands", Tags::none(), net.links.counts.commands.load(Relaxed));
    let (connections, pending) = net.links.len();
    rows.gauge("connections", connections as f64);
    rows.gauge("handshakes", pending as f64);
    rows.gauge("queued.bytes", net.pool.bytes() as f64);
    rows.gauge("incoming.bytes", net.links.incoming_bytes() as f64);
    let keep = shared.keep();
    let counts = keep.counts();
    rows.counter("frames.repeated", Tags::none(), counts.repeats);
    rows.counter("frames.late", Tags::none(), counts.late);
    rows.counter("frames.conflicting", Tags::none(), counts.conflicts);
    rows.counter("ended", Tags::none(), counts.ended);
    rows.counter("silences", Tags::none(), counts.silences);
    rows.counter("expired", Tags::none(), counts.expired);
    rows.counter("evicted", Tags::none(), counts.evicted);
    rows.gauge("instances", keep.instances() as f64);
    rows.gauge("slots", keep.slots() as f64);
    rows.gauge("kept.bytes", keep.bytes() as f64);
    let mut levels: Vec<_> = keep.levels().map(|(level, counts)| (level.to_owned(), counts)).collect();
    drop(keep);
    levels.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    for (level, counts) in levels.into_iter().take(LEVELS) {
        let tags = Tags::new([("level", level)]);
        rows.counter("level.frames", tags.clone(), counts.frames);
        rows.counter("level.bytes", tags.clone(), counts.bytes);
        rows.counter("level.gaps", tags, counts.gaps);
    }
    rows.rows
}

struct Rows<'a> {
    shared: &'a Shared,
    rows: Vec<Row>,
}

impl Rows<'_> {
    fn counter(&mut self, name: &str, tags: Tags, count: u64) {
        let whole = i64::try_from(count).unwrap_or(i64::MAX);
        self.push(Kind::Counter, name, tags, State::Total(Total::whole(whole)));
    }

    fn gauge(&mut self, name: &str, value: f64) {
        let set_at = self.shared.clock.now();
        self.push(Kind::Gauge, name, Tags::none(), State::Gauge(Gauge { value, set_at, statistics: None }));
    }

    fn push(&mut self, kind: Kind, name: &str, tags: Tags, state: State) {
        let key = Key {
            kind,
            name: format!("zibrato.broker.{name}").into(),
            source: self.shared.source.as_str().into(),
            tags,
            born: self.shared.clock.started_at(),
        };
        self.rows.push(Row { key, state, trace: None, event: None });
    }
}
