//! The worker's own metrics: it is an instance like any other, at level `zibrato`.

use std::sync::Arc;
use std::time::Duration;

use zibrato_core::frame::{Flags, Head, InstanceId, Key, Kind, Row, State, Tags, Total, encode_set};
use zibrato_core::ledger::Ledger;
use zibrato_core::{level, limits};
use zibrato_transport::{Broker, Push};

use crate::complaints::Complaints;
use crate::status::Figures;
use crate::trace::Tracing;

/// How often they are sent.
pub(crate) const EVERY: Duration = Duration::from_secs(5);

/// Most levels that have metrics of their own.
const LEVELS: usize = 100;

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

    /// Sends what the figures are now; `last` where the worker ends.
    pub(crate) fn send(
        &mut self,
        now: u64,
        figures: &Figures,
        backend: &[(&str, u64)],
        ledger: &Ledger,
        complaints: &Complaints,
        last: bool,
    ) {
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
        let mut rows = Vec::new();
        let counts = ledger.counts();
        let mut add = |name: &str, reason: Option<(&str, &str)>, total: u64| {
            let whose = ("backend", self.backend);
            let worker = self.worker.as_deref().map(|worker| ("worker", worker));
            let tags = Tags::new([Some(whose), reason, worker].into_iter().flatten());
            let name = format!("zibrato.worker.{}", name.replace('_', ".")).into();
            let source = self.source.as_str().into();
            let key = Key { kind: Kind::Counter, name, source, tags, born: self.started_at };
            let total = Total::whole(i64::try_from(total).unwrap_or(i64::MAX));
            rows.push(Row { key, state: State::Total(total), trace: None, event: None });
        };
        figures.named().for_each(|(name, total)| add(name, None, total));
        backend.iter().for_each(|&(name, total)| add(name, None, total));
        let (told, dropped) = self.tracing.counts();
        add("trace_events", None, told);
        add("trace_dropped", None, dropped + counts.marks_lost);
        let merged = [
            ("frames", counts.frames),
            ("frames_old", counts.too_old),
            ("gaps", counts.gaps),
            ("late", counts.late),
            ("conflicts", counts.conflicts),
            ("point_repeats", counts.point_repeats),
            ("points_lost", counts.points_lost),
            ("backwards", counts.backwards),
            ("rows_beyond", counts.rows_beyond),
            ("frames_beyond", counts.frames_beyond),
        ];
        merged.into_iter().for_each(|(name, total)| add(name, None, total));
        complaints.counts().for_each(|(reason, total)| add("refused", Some(("reason", reason)), total));
        for (level, counts) in ledger.level_counts().take(LEVELS) {
            add("level_frames", Some(("level", level)), counts.frames);
            add("level_gaps", Some(("level", level)), counts.gaps);
        }
        let topic = level::topic(level::OWN);
        for frame in encode_set(&head, &rows, limits::FRAME) {
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
