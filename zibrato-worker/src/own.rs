//! The worker's own metrics: it is an instance like any other, at level `zibrato`.

use std::sync::Arc;
use std::time::Duration;

use zibrato_core::frame::{Flags, Gauge, Head, InstanceId, Key, Kind, Row, State, Tags, Total, encode_set};
use zibrato_core::ledger::Ledger;
use zibrato_core::{level, limits};
use zibrato_transport::{Broker, Push};

use crate::complaints::Complaints;
use crate::status::Status;
use crate::subscription::Heard;
use crate::trace::Tracing;

/// How often they are sent.
pub(crate) const EVERY: Duration = Duration::from_secs(5);

/// Most levels that have metrics of their own.
const LEVELS: usize = 100;

/// What the worker tells of itself.
pub(crate) struct Told<'a> {
    pub(crate) status: &'a Status,
    pub(crate) ledger: &'a Ledger,
    pub(crate) complaints: &'a Complaints,
    pub(crate) heard: &'a Heard,
    pub(crate) misses: u64,
    pub(crate) held_bytes: usize,
    pub(crate) state_failing: bool,
}

pub(crate) struct Own {
    instance: InstanceId,
    started_at: u64,
    sequence: u64,
    source: String,
    backend: &'static str,
    worker: Option<String>,
    pushes: Vec<Push>,
    tracing: Arc<Tracing>,
}

impl Own {
    pub(crate) fn new(brokers: &[Broker], backend: &'static str, worker: Option<&str>, now: u64) -> Self {
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        let source = if limits::check_name(&host).is_ok() { host } else { "localhost".into() };
        let pushes = brokers.iter().map(Push::start).collect();
        let whose = worker.map_or_else(|| backend.into(), |worker| format!("{backend}/{worker}"));
        let tracing = Arc::new(Tracing::new(&source, &whose));
        Own {
            instance: InstanceId::random(),
            started_at: now,
            sequence: 0,
            source,
            backend,
            worker: worker.map(str::to_string),
            pushes,
            tracing,
        }
    }

    /// What is told of marked rows.
    pub(crate) fn tracing(&self) -> Arc<Tracing> {
        self.tracing.clone()
    }

    /// Sends what was told of marked rows; `last` where the worker ends.
    pub(crate) fn send_events(&self, now: u64, last: bool) {
        let topic = level::topic(level::TRACE);
        for frame in self.tracing.set(now, last).iter().flat_map(|set| set.frames(now)) {
            for push in &self.pushes {
                push.offer(&topic, frame.clone().into());
            }
        }
    }

    /// What the worker knows of itself now, as rows.
    pub(crate) fn rows(&self, now: u64, told: &Told<'_>) -> Vec<Row> {
        let mut rows = Rows { own: self, now, rows: Vec::new() };
        told.status.figures().named().for_each(|(name, total)| rows.counter(name, None, total));
        told.status.backend().iter().for_each(|&(name, total)| rows.counter(name, None, total));
        let (events, dropped) = self.tracing.counts();
        let counts = told.ledger.counts();
        let counters = [
            ("trace_events", events),
            ("trace_dropped", dropped + counts.marks_lost),
            ("frames", counts.frames),
            ("frames_old", counts.too_old),
            ("frames_missed", told.misses),
            ("frames_beyond", counts.frames_beyond),
            ("rows_beyond", counts.rows_beyond),
            ("gaps", counts.gaps),
            ("late", counts.late),
            ("conflicts", counts.conflicts),
            ("point_repeats", counts.point_repeats),
            ("points_lost", counts.points_lost),
            ("backwards", counts.backwards),
            ("brokers_refusals", told.heard.refusals()),
            ("brokers_silences", told.heard.silences()),
            ("own_dropped", self.pushes.iter().map(|push| push.stats().dropped).sum()),
        ];
        counters.into_iter().for_each(|(name, total)| rows.counter(name, None, total));
        told.complaints
            .counts()
            .for_each(|(reason, total)| rows.counter("refused", Some(("reason", reason)), total));
        for (level, counts) in told.ledger.level_counts().take(LEVELS) {
            rows.counter("level_frames", Some(("level", level)), counts.frames);
            rows.counter("level_gaps", Some(("level", level)), counts.gaps);
        }
        let status = told.status;
        let gauges = [
            ("brokers_heard", told.heard.count() as f64),
            ("outbox_batches", status.outbox_batches() as f64),
            ("outbox_oldest_seconds", status.oldest(now)),
            ("backend_outage_seconds", status.outage(now)),
            ("settled_seconds_ago", status.settled(now)),
            ("held_bytes", told.held_bytes as f64),
            ("state_failing", f64::from(u8::from(told.state_failing))),
            ("started", self.started_at as f64 / 1e9),
        ];
        gauges.into_iter().for_each(|(name, value)| rows.gauge(name, value));
        rows.rows
    }

    /// Sends its own metrics; `last` where the worker ends.
    pub(crate) fn send(&mut self, now: u64, rows: &[Row], last: bool) {
        self.sequence += 1;
        let flags = if last { Flags::COMPLETE.with(Flags::LAST) } else { Flags::COMPLETE };
        let head = Head {
            instance: self.instance,
            started_at: self.started_at,
            sequence: self.sequence,
            base: self.sequence,
            part: 0,
            parts: 1,
            sent_at: now.max(self.started_at),
            flags,
            source: self.source.clone(),
        };
        let topic = level::topic(level::OWN);
        for frame in encode_set(&head, rows, limits::FRAME) {
            for push in &self.pushes {
                push.offer(&topic, frame.clone().into());
            }
        }
    }

    /// Waits until everything is out, for `deadline` at most.
    pub(crate) async fn close(self, deadline: Duration) {
        for push in self.pushes {
            push.close(deadline).await;
        }
    }
}

/// Rows in the making.
struct Rows<'a> {
    own: &'a Own,
    now: u64,
    rows: Vec<Row>,
}

impl Rows<'_> {
    fn counter(&mut self, name: &str, tag: Option<(&str, &str)>, total: u64) {
        let total = Total::whole(i64::try_from(total).unwrap_or(i64::MAX));
        self.push(Kind::Counter, name, tag, State::Total(total));
    }

    fn gauge(&mut self, name: &str, value: f64) {
        self.push(Kind::Gauge, name, None, State::Gauge(Gauge { value, set_at: self.now, statistics: None }));
    }

    fn push(&mut self, kind: Kind, name: &str, tag: Option<(&str, &str)>, state: State) {
        let whose = ("backend", self.own.backend);
        let worker = self.own.worker.as_deref().map(|worker| ("worker", worker));
        let tags = Tags::new([Some(whose), tag, worker].into_iter().flatten());
        let name = format!("zibrato.worker.{}", name.replace('_', ".")).into();
        let source = self.own.source.as_str().into();
        let key = Key { kind, name, source, tags, born: self.own.started_at };
        self.rows.push(Row { key, state, trace: None, event: None });
    }
}
