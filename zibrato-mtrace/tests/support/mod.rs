//! Backends as the command line makes them, and events for them.
#![allow(dead_code, unreachable_pub, reason = "every test file uses another part of it")]
#![allow(clippy::unwrap_used, reason = "it is for tests only")]

use std::sync::Arc;

use clap::{Args as _, FromArgMatches as _};
use zibrato_core::frame::{InstanceId, Key, Kind, Tags, Total};
use zibrato_core::trace::{Event, Hop, Mark, Trace, Verdict};
use zibrato_mtrace::{Mtrace, Options};
use zibrato_worker::{BackendOptions as _, Batch, Measurement, Series, Value};

/// 2026-01-02 23:59:59.5 UTC.
pub const TIME: u64 = 1_767_398_399_500_000_000;

pub fn mtrace(arguments: &[&str]) -> Mtrace {
    let command = Options::augment_args(clap::Command::new("mtrace"));
    let matches = command.try_get_matches_from([&["mtrace"], arguments].concat()).unwrap();
    let mut worker = zibrato_worker::Options::default();
    worker.levels = "mtrace".parse().unwrap();
    Options::from_arg_matches(&matches).unwrap().open(&worker).unwrap()
}

/// A row's event; every tenth was refused.
pub fn event(number: u64) -> Event {
    let key = Key {
        kind: Kind::Counter,
        name: "wébsite \"requests\"".into(),
        source: "web1".into(),
        tags: Tags::new([("path", "/a b"), ("it's", "so")]),
        born: 1,
    };
    let mark = Mark {
        instance: InstanceId([7; 16]),
        level: "info".into(),
        sequence: 5,
        number,
        key,
        total: Total::whole(i64::MAX - number as i64),
        count: None,
    };
    let event = Event { by: "host".into(), ..Event::new(Hop::Backend, mark, TIME + number * 100_000_000) };
    let refused = number % 10 == 9;
    event.with_verdict(
        if refused { Verdict::Refused } else { Verdict::Ok },
        refused.then_some("it is too long"),
    )
}

pub fn batch(id: u64, numbers: impl IntoIterator<Item = u64>) -> Batch {
    let measurement = |number| {
        let event = event(number);
        let key = &event.mark.key;
        let series = Series {
            name: key.name.to_string(),
            source: key.source.to_string(),
            tags: vec![],
            kind: Kind::Point,
        };
        let value = Value::Point { time: event.time, value: 0.0 };
        let trace = Trace::Event(Arc::new(event));
        Measurement { series, level: "mtrace".into(), unit: None, help: None, since: 0, value, trace }
    };
    Batch { id, from: 0, time: TIME, measurements: numbers.into_iter().map(measurement).collect() }
}
