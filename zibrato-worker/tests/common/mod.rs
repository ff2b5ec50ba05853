//! Frames made by hand, and workers driven by hand.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use tokio::sync::Mutex;
use zibrato_core::frame::{Flags, Frame, Head, InstanceId, Key, Kind, Row, Spread, Tags, Total};
use zibrato_core::histogram::Histogram;
use zibrato_core::ledger::{Arrival, Merged};
use zibrato_core::level::Levels;
use zibrato_worker::testing::Memory;
use zibrato_worker::{Backend, Error, Outcome, Rules, Sender, Sent, Settler, Shard, State, Status};

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const NOW: u64 = 1_000_000 * SECOND;

pub(crate) fn key(kind: Kind, name: &str) -> Key {
    Key { kind, name: name.into(), source: "here".into(), tags: Tags::none(), born: 0 }
}

pub(crate) fn counter(name: &str, total: i64) -> Row {
    Row {
        key: key(Kind::Counter, name),
        state: zibrato_core::frame::State::Total(Total::whole(total)),
        trace: None,
        event: None,
    }
}

pub(crate) fn timer(name: &str, values: &[f64]) -> Row {
    let mut histogram = Histogram::default();
    values.iter().for_each(|v| assert!(histogram.record(*v)));
    let sum = Total::whole(values.iter().sum::<f64>() as i64);
    Row {
        key: key(Kind::Timer, name),
        state: zibrato_core::frame::State::Spread(Spread { sum, span: None, histogram }),
        trace: None,
        event: None,
    }
}

/// A complete set of instance `id`, `age` after it started.
pub(crate) fn complete(id: u8, sequence: u64, age: u64, rows: Vec<Row>) -> Frame {
    let head = Head {
        instance: InstanceId([id; 16]),
        started_at: 5 * SECOND,
        sequence,
        base: sequence,
        part: 0,
        parts: 1,
        sent_at: 5 * SECOND + age,
        flags: Flags::COMPLETE,
        source: "here".into(),
    };
    Frame { head, rows }
}

pub(crate) fn at(now: u64) -> Arrival {
    Arrival { now, held: 0 }
}

/// A worker without its sockets.
pub(crate) struct Worker {
    pub(crate) settler: Settler,
    pub(crate) sender: Sender<Memory>,
    pub(crate) backend: Memory,
    pub(crate) status: Arc<Status>,
}

impl Worker {
    pub(crate) fn open(directory: &Path, backend: &Memory, rules: Rules, now: u64) -> Worker {
        Worker::on(State::open(directory, Memory::NAME, Shard::WHOLE).unwrap(), backend, rules, now).unwrap()
    }

    pub(crate) fn on(state: State, backend: &Memory, rules: Rules, now: u64) -> Result<Worker, Error> {
        let status = Arc::new(Status::default());
        let sender = Sender::new(Arc::new(Mutex::new(backend.clone())), state.clone(), status.clone());
        let settler = Settler::new(state, &Levels::default(), rules, now)?;
        Ok(Worker { settler, sender, backend: backend.clone(), status })
    }

    pub(crate) fn merge(&mut self, frame: Frame, now: u64) {
        let merged = self.settler.merge("info", frame, at(now), &self.backend).unwrap();
        assert_eq!(merged, Merged::Taken { beyond: 0 });
    }

    pub(crate) fn settle(&mut self, now: u64) -> Outcome {
        self.settler.settle(&self.backend, now, false).unwrap()
    }

    pub(crate) async fn drain(&mut self) -> Sent {
        self.sender.drain().await.unwrap()
    }
}
