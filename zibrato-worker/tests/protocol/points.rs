//! Points: numbered per instance, repeated in frame after frame, told once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use zibrato_core::frame::{
    Flags, Head, InstanceId, Key, Kind, Point, Row, State as RowState, Tags, decode, encode_set,
};
use zibrato_core::ledger::{Arrival, Merged};
use zibrato_core::level::Levels;
use zibrato_worker::testing::{Act, Memory};
use zibrato_worker::{Backend, Outcome, Rules, Sender, Settler, Shard, State, Status, Value};

use crate::directory;
use crate::net::{SECOND, clock};
use crate::plan::INFO;
use crate::random::Random;

/// A set with points from `first` to `last`, in parts.
fn frames(sequence: u64, first: u64, last: u64, now: u64) -> Vec<Vec<u8>> {
    let head = Head {
        instance: InstanceId([9; 16]),
        started_at: clock(1, 0),
        sequence,
        base: 0,
        part: 0,
        parts: 1,
        sent_at: clock(now, 0),
        flags: Flags::default(),
        source: "here".into(),
    };
    let row = |number: u64| {
        let key = Key {
            kind: Kind::Point,
            name: "p".into(),
            source: "here".into(),
            tags: Tags::none(),
            born: clock(1, 0),
        };
        let point = Point { number, time: clock(number / 2, 0), value: number as f64 };
        Row { key, state: RowState::Point(point), trace: None, event: None }
    };
    let rows: Vec<Row> = (first..=last).map(row).collect();
    encode_set(&head, &rows, 250)
}

#[test]
fn every_point_is_told_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for seed in 0..20 {
        let mut random = Random::new(("points", seed));
        let directory = directory();
        let backend = Memory::new().with_resolution(Duration::from_secs(1)).with_batch_size(4);
        let open = |now: u64| {
            let state = State::open(directory.path(), Memory::NAME, Shard::WHOLE).unwrap();
            let shared = Arc::new(tokio::sync::Mutex::new(backend.clone()));
            let sender = Sender::new(shared, state.clone(), Arc::new(Status::default()));
            (Settler::new(state, &Levels::ALL, Rules::default(), clock(now, 0)).unwrap(), sender)
        };
        let (mut settler, mut sender) = open(0);
        let (mut last, mut sequence) = (0, 0);
        let mut queue: Vec<(u64, Vec<u8>)> = Vec::new();
        for now in 1..80 {
            if now < 60 {
                // A set repeats what was in the sets before it; all of it, once in a while.
                let first = if random.chance(0.1) { 1 } else { (last + 1_u64).saturating_sub(6).max(1) };
                last += random.below(4);
                sequence += 1;
                for frame in frames(sequence, first, last, now) {
                    for _ in 0..random.pick(&[0, 1, 1, 2]) {
                        queue.push((now + random.below(7), frame.clone()));
                    }
                }
            } else if now == 60 {
                sequence += 1;
                queue.extend(frames(sequence, 1, last, now).into_iter().map(|frame| (now, frame)));
            }
            let (arrived, rest) = queue.into_iter().partition(|(at, _)| *at <= now);
            queue = rest;
            let mut arrived: Vec<_> = arrived;
            arrived.sort_by_cached_key(|_| random.next());
            for (_, frame) in arrived {
                let frame = decode(&frame).unwrap().frame;
                let arrival = Arrival { now: clock(now, 0), held: 0 };
                let merged = settler.merge(INFO, frame, arrival, &backend).unwrap();
                assert_eq!(merged, Merged::Taken { beyond: 0 });
            }
            if random.chance(0.2) {
                drop((settler, sender));
                // What was merged and not settled is lost with the memory, and asked for again.
                (settler, sender) = open(now);
                sequence += 1;
                queue.extend(frames(sequence, 1, last, now).into_iter().map(|frame| (now + 1, frame)));
                continue;
            }
            if !matches!(settler.settle(&backend, clock(now, 0), false).unwrap(), Outcome::Nothing) {
                backend.will(match random.below(4) {
                    0 => Some(Act::Fail(None)),
                    1 => Some(Act::AcceptAndFail),
                    _ => None,
                });
                runtime.block_on(sender.drain()).unwrap();
            }
        }
        settler.settle(&backend, clock(90, 0), true).unwrap();
        while settler.state().waiting().unwrap() > 0 {
            runtime.block_on(sender.drain()).unwrap();
        }
        // The backend takes a batch twice where its answer was lost, as whole batches with the same id.
        let batches: BTreeMap<u64, _> =
            backend.accepted().into_iter().map(|batch| (batch.id, batch)).collect();
        let mut told: Vec<(u64, u64)> = Vec::new();
        for measurement in batches.values().flat_map(|batch| &batch.measurements) {
            let Value::Point { time, value } = measurement.value else { panic!("{measurement:?}") };
            told.push((value as u64, time / SECOND));
        }
        told.sort_unstable();
        let expected: Vec<(u64, u64)> = (1..=last).map(|n| (n, clock(n / 2, 0) / SECOND)).collect();
        assert_eq!(told, expected, "seed {seed}");
    }
}
