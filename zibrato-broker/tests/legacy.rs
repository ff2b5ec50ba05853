//! Lines of old publishers: read exactly, passed on unchanged, added up into frames.
#![allow(clippy::unwrap_used)] // Also in what the tests share.

mod support;

use std::collections::{BTreeMap, HashMap};

use omq_tokio::{Message as Raw, SocketType};
use proptest::prelude::*;
use support::*;
use zibrato_broker::legacy::{BadLine, Gateway, Increment, Reading, parse};
use zibrato_core::frame::{Flags, InstanceId, Kind, Row, State, decode};

const SECOND: u64 = 1_000_000_000;

#[test]
fn a_line_is_read_exactly() {
    let line = parse(b"info|Counter|countertest|1|1795288974|not_specified").unwrap();
    assert_eq!((line.level, line.name, line.source), ("info", "countertest", "not_specified"));
    assert_eq!(line.reading, Reading::Counter(Increment::Whole(1)));
    assert_eq!(line.time, 1_795_288_974 * SECOND);
    let reading = |kind: &str, value: &str| {
        parse(format!("info|{kind}|n|{value}|1|my-host").as_bytes()).map(|l| (l.reading, l.source.to_owned()))
    };
    let of = |reading| Ok((reading, "my-host".to_owned()));
    assert_eq!(reading("counters", "0"), of(Reading::Counter(Increment::Whole(0))));
    assert_eq!(reading("COUNTER", "5.0"), of(Reading::Counter(Increment::Whole(5))));
    assert_eq!(reading("Counter", "2.5"), of(Reading::Counter(Increment::Float(2.5))));
    assert_eq!(reading("Counter", "-3"), of(Reading::Counter(Increment::Whole(-3))));
    assert_eq!(reading("Counter", "9223372036854775807"), of(Reading::Counter(Increment::Whole(i64::MAX))));
    assert_eq!(reading("timer", "0.050131"), of(Reading::Timer(50_131_000)));
    assert_eq!(reading("Timers", "0"), of(Reading::Timer(0)));
    assert_eq!(reading("Timer", "17280000.000001"), of(Reading::Timer(17_280_000_000_001_000)));
    assert_eq!(reading("Timer", "1e-3"), of(Reading::Timer(1_000_000)));
    assert_eq!(reading("Gauge", "1234567.891234"), of(Reading::Gauge(1_234_567.891_234)));
    assert_eq!(reading("gauges", "-1e-05"), of(Reading::Gauge(-1e-5)));
    assert_eq!(parse("info|Gauge|größe|1|1.5|ü".as_bytes()).unwrap().time, 1_500_000_000);
}

#[test]
fn what_is_no_line_is_refused_with_its_reason() {
    for (line, why) in [
        (&b""[..], BadLine::Fields),
        (b"info|Counter|n|1|1", BadLine::Fields),
        (b"info|Counter|a|b|1|1|s", BadLine::Fields),
        (b"info|c|n|1|1|s", BadLine::UnknownType),
        (b"info|ms|n|1|1|s", BadLine::UnknownType),
        (b"info||n|1|1|s", BadLine::UnknownType),
        (b"info|counterss|n|1|1|s", BadLine::UnknownType),
        (b"|Counter|n|1|1|s", BadLine::BadLevel),
        (b"beat|Counter|n|1|1|s", BadLine::BadLevel),
        (b"info|Counter||1|1|s", BadLine::BadName),
        (b"info|Counter|n|1|1|", BadLine::BadName),
        (b"info|Counter|a\nb|1|1|s", BadLine::BadName),
        (b"info|Counter|n||1|s", BadLine::NotANumber),
        (b"info|Counter|n|True|1|s", BadLine::NotANumber),
        (b"info|Counter|n|0x10|1|s", BadLine::NotANumber),
        (b"info|Gauge|n|nan|1|s", BadLine::NotFinite),
        (b"info|Gauge|n|-inf|1|s", BadLine::NotFinite),
        (b"info|Counter|n|1e400|1|s", BadLine::NotFinite),
        (b"info|Timer|n|-0.1|1|s", BadLine::Impossible),
        (b"info|Timer|n|1e300|1|s", BadLine::Impossible),
        (b"info|Gauge|n|1|-1|s", BadLine::BadTime),
        (b"info|Gauge|n|1|now|s", BadLine::BadTime),
        (b"info|Gauge|n|1|99999999999999999999|s", BadLine::BadTime),
        (b"info|Gauge|\xff|1|1|s", BadLine::NotUtf8),
        (&[b'x'; 5000], BadLine::TooLong),
    ] {
        assert_eq!(parse(line), Err(why), "{}", line.escape_ascii());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn any_fields_are_answered(fields in prop::collection::vec("[a-z0-9.|eE+-]{0,12}|Timer|Counter|Gauge|nan|inf", 5..8)) {
        let _ = parse(fields.join("|").as_bytes());
    }

    /// However lines and sets are mixed, the last set has the exact totals, and every point is in some set.
    #[test]
    fn totals_are_exact(lines in prop::collection::vec((0..3u8, 0..3u8, -5..20i64, any::<bool>()), 1..200)) {
        let mut gateway = Gateway::new(InstanceId([1; 16]), "gateway".into());
        let mut counted: BTreeMap<String, i64> = BTreeMap::new();
        let mut timed: BTreeMap<String, (u64, i64)> = BTreeMap::new();
        let (mut points, mut seen) = (0, HashMap::new());
        let mut sets = Vec::new();
        for (n, (kind, name, value, send)) in lines.iter().enumerate() {
            let now = n as u64 * SECOND / 3 + 1;
            let word = ["Counter", "timer", "Gauges"][usize::from(*kind)];
            let value = if *kind == 1 { value.abs() } else { *value };
            let line = format!("info|{word}|n{name}|{value}|1|s");
            gateway.take(&parse(line.as_bytes()).unwrap(), now).unwrap();
            match kind {
                0 => *counted.entry(format!("n{name}")).or_default() += value,
                1 => {
                    let t = timed.entry(format!("n{name}")).or_default();
                    *t = (t.0 + 1, t.1 + value * SECOND as i64);
                }
                _ => points += 1,
            }
            if *send {
                sets.push(gateway.sets(now, false));
            }
        }
        sets.push(gateway.sets(1000 * SECOND, true));
        let frames: Vec<Vec<u8>> = sets.into_iter().flatten().flat_map(|(_, frames)| frames).collect();
        for frame in &frames {
            let decoded = decode(frame).unwrap();
            prop_assert_eq!(&decoded.skipped, &[]);
            for row in decoded.frame.rows {
                if let State::Point(point) = row.state {
                    prop_assert!(seen.insert(point.number, point).is_none_or(|before| before == point));
                }
            }
        }
        prop_assert_eq!(seen.len(), points);
        let end = decode(frames.last().unwrap()).unwrap().frame;
        prop_assert!(end.head.flags.has(Flags::LAST) && end.head.is_complete());
        for (name, total) in counted {
            prop_assert_eq!(whole(&end.rows, &name), total);
        }
        for (name, (count, sum)) in timed {
            let spread = end.rows.iter().find_map(|row| match &row.state {
                State::Spread(spread) if *row.key.name == *name => Some(spread),
                _ => None,
            });
            let spread = spread.unwrap();
            prop_assert_eq!((spread.histogram.count(), spread.sum.whole), (count, sum));
        }
    }
}

/// The total of a counter, in all its rows.
fn whole(rows: &[Row], name: &str) -> i64 {
    let own = rows.iter().filter(|row| *row.key.name == *name);
    own.map(|row| match (row.key.kind, &row.state) {
        (Kind::Counter, State::Total(total)) => {
            assert!(total.whole >= 0);
            total.whole
        }
        (_, State::Total(total)) => total.whole,
        _ => 0,
    })
    .sum()
}

#[test]
fn a_large_level_sends_what_changed() {
    let mut gateway = Gateway::new(InstanceId([1; 16]), "gateway".into());
    for n in 0..5000 {
        let line = format!("info|Counter|a metric with a rather long name, number {n}|1|1|s");
        gateway.take(&parse(line.as_bytes()).unwrap(), 1).unwrap();
    }
    let sets = gateway.sets(SECOND, false);
    assert!(decode(&sets[0].1[0]).unwrap().frame.head.is_complete());
    assert_eq!(gateway.sets(2 * SECOND, false), []);
    gateway.take(&parse(b"info|Counter|one more|1|1|s").unwrap(), 3 * SECOND).unwrap();
    for now in [3, 4] {
        // As long as no complete set has it, it is sent again.
        let sets = gateway.sets(now * SECOND, false);
        let frame = decode(&sets[0].1[0]).unwrap().frame;
        assert_eq!((frame.head.base, frame.rows.len()), (1, 1));
    }
    let sets = gateway.sets(12 * SECOND, false);
    assert!(decode(&sets[0].1[0]).unwrap().frame.head.is_complete());
}

#[test]
fn more_metrics_than_there_is_room_for_are_counted_in_one() {
    let mut gateway = Gateway::new(InstanceId([1; 16]), "gateway".into());
    for n in 0..10_010 {
        let line = format!("info|Counter|{n}|7|1|s");
        gateway.take(&parse(line.as_bytes()).unwrap(), 1).unwrap();
    }
    let sets = gateway.sets(SECOND, true);
    let rows: Vec<Row> = sets[0].1.iter().flat_map(|f| decode(f).unwrap().frame.rows).collect();
    assert_eq!(rows.len(), 10_001);
    assert_eq!(whole(&rows, "zibrato.overflow"), 10);
}

#[test]
fn points_stay_for_half_a_minute() {
    let mut gateway = Gateway::new(InstanceId([1; 16]), "gateway".into());
    gateway.take(&parse(b"info|Gauge|g|0|1|s").unwrap(), SECOND).unwrap();
    let points = |sets: Vec<(_, Vec<Vec<u8>>)>| decode(&sets[0].1[0]).unwrap().frame.rows.len();
    assert_eq!(points(gateway.sets(2 * SECOND, false)), 1);
    assert_eq!(points(gateway.sets(30 * SECOND, false)), 1);
    assert_eq!(points(gateway.sets(32 * SECOND, false)), 0);
    for n in 0..5000 {
        assert!(!gateway.is_pressed());
        gateway.take(&parse(format!("info|Gauge|g|{n}|1|s").as_bytes()).unwrap(), 33 * SECOND).unwrap();
    }
    assert!(gateway.is_pressed());
}

#[tokio::test(flavor = "multi_thread")]
async fn old_publishers_reach_old_and_new_workers() {
    let state = tempfile::tempdir().unwrap();
    let config =
        zibrato_broker::Config { legacy_port: Some(0), state: Some(state.path().to_owned()), ..config() };
    let broker = start(config.clone()).await;
    let dealer = connected(SocketType::Dealer, &broker.addresses.ask).await;
    let new_worker = subscriber(&broker.addresses, &["info|"]).await;
    let old_worker = connected(SocketType::Sub, broker.addresses.legacy_out.as_ref().unwrap()).await;
    old_worker.subscribe("info").await.unwrap();
    let publisher = connected(SocketType::Pub, broker.addresses.legacy_in.as_ref().unwrap()).await;
    // An old publisher does not know when it is heard; neither does an old worker.
    let hello = b"info|Gauge|hello|0|1|s".to_vec();
    let heard = async {
        loop {
            publisher.send(Raw::multipart([hello.clone()])).await.unwrap();
            if tokio::time::timeout(std::time::Duration::from_millis(50), old_worker.recv()).await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, heard).await.unwrap();
    let odd = b"info|no line at all|\xff".to_vec();
    for n in 0..1000 {
        let line = format!("info|Counter|c|1|{}|my-host", 1_795_288_974 + n).into_bytes();
        publisher.send(Raw::multipart([line])).await.unwrap();
        if n == 500 {
            publisher.send(Raw::multipart([odd.clone()])).await.unwrap();
        }
    }
    // The old worker sees the same bytes, also those that make no sense.
    let mut got = Vec::new();
    while got.len() < 1001 {
        let message = tokio::time::timeout(DEADLINE, old_worker.recv()).await.unwrap().unwrap();
        let line = parts(&message);
        assert_eq!(line.len(), 1);
        if line[0] != hello {
            got.push(line[0].clone());
        }
    }
    assert_eq!(got.iter().filter(|l| **l == odd).count(), 1);
    assert_eq!(got[0], b"info|Counter|c|1|1795288974|my-host");
    // The new worker sees the total.
    loop {
        let rows = decode(&next(&new_worker).await[1]).unwrap().frame.rows;
        if whole(&rows, "c") == 1000 {
            assert!(rows.iter().any(|r| *r.key.source == *"my-host"));
            break;
        }
    }
    let told = info(&dealer).await;
    assert_eq!(told["rejected"]["line_not_utf8"], 1);
    // The gateway's instance ends with the broker, and the next life of the broker knows its totals.
    broker.stop().await;
    let broker = start(config).await;
    let dealer = connected(SocketType::Dealer, &broker.addresses.ask).await;
    let (kept, _) = ask(&dealer, &["info"], None).await;
    let ended = kept.iter().map(|k| decode(&k.2).unwrap().frame).find(|f| f.head.flags.has(Flags::LAST));
    assert_eq!(whole(&ended.unwrap().rows, "c"), 1000);
    broker.stop().await;
}
