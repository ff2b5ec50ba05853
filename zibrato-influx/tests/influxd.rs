//! What influxd stores, refuses and says.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use proptest::strategy::{Strategy as _, ValueTree as _};
use serde_json::json;
use support::*;
use zibrato_trial::Influx;
use zibrato_worker::{Accepted, Kind, Total, Value};

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_is_stored_with_its_types() {
    let Some(influx) = Influx::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    let time = now();
    let mixed = measurement("app.mixed", Kind::Counter, Value::Counter(Total { whole: 2, float: 0.25 }));
    let mut watched = gauge("app.watched", 2.5);
    watched.value =
        Value::Gauge(zibrato_worker::GaugeSummary { last: 2.5, statistics: Some((3, 6.0, 1.0, 3.0)) });
    let sizes = Value::Distribution(summary(&[512; 3]));
    let all = batch(
        time,
        vec![
            tagged(counter("app.calls", i64::MAX), &[("code", "200")]),
            mixed,
            measurement("app.users", Kind::Updown, Value::Updown(Total::whole(-3))),
            gauge("app.heat", 21.0),
            watched,
            timer("app.time", &[50_000_000; 4]),
            measurement("app.sizes", Kind::Distribution, sizes),
            point("app.rain", time - 1_500_000_000, 0.5),
        ],
    );
    for gzip in [&[][..], &["--gzip"]] {
        let mut backend = writer(influx.port(), &directory, gzip);
        assert_eq!(send(&mut backend, &all).await, Ok(Accepted::All));
    }
    let row = |name: &str| rows(&influx.query(&format!("SELECT * FROM \"{name}\"")).unwrap())[0].clone();
    let calls = json!({"time": time, "code": "200", "counter": i64::MAX, "source": "web1"});
    assert_eq!(row("app.calls"), calls);
    assert_eq!(
        row("app.mixed"),
        json!({"time": time, "counter": 2, "counter_float": 0.25, "source": "web1"})
    );
    assert_eq!(row("app.users"), json!({"time": time, "updown": -3, "source": "web1"}));
    assert_eq!(row("app.heat"), json!({"time": time, "gauge": 21, "source": "web1"}));
    let watched = json!({"time": time, "gauge": 2.5, "gauge_count": 3, "gauge_sum": 6, "gauge_min": 1,
        "gauge_max": 3, "source": "web1"});
    assert_eq!(row("app.watched"), watched);
    let times = row("app.time");
    assert_eq!((&times["timer_count"], &times["timer_sum"]), (&json!(4), &json!(0.2)));
    for field in ["timer_min", "timer_max", "timer_mean", "timer_p50", "timer_p90", "timer_p99"] {
        assert_eq!(times[field], json!(0.05), "{field}");
    }
    let squares = times["timer_sum_squares"].as_f64().unwrap();
    assert!((squares - 0.01).abs() < 0.000_2, "{squares}");
    assert_eq!(row("app.sizes")["distribution_sum"], json!(1536));
    assert_eq!(row("app.rain"), json!({"time": time - 1_500_000_000, "point": 0.5, "source": "web1"}));

    let types = influx.query("SHOW FIELD KEYS").unwrap();
    let of = |field: &str| {
        let all = rows(&types);
        all.iter().find(|row| row["fieldKey"] == field).map(|row| row["fieldType"].clone()).unwrap()
    };
    for field in ["counter", "updown", "gauge_count", "timer_count", "distribution_count"] {
        assert_eq!(of(field), "integer", "{field}");
    }
    for field in ["counter_float", "gauge", "timer_sum", "timer_min", "distribution_sum", "point"] {
        assert_eq!(of(field), "float", "{field}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_overwrites_itself_at_every_precision() {
    let Some(influx) = Influx::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    for precision in ["ns", "us", "ms", "s"] {
        let mut backend = writer(influx.port(), &directory, &["--precision", precision]);
        let name = format!("calls.{precision}");
        let time = now();
        let own = time + 123_456_789;
        for _ in 0..3 {
            let batch = batch(time, vec![counter(&name, 7), point(&name, own, 1.0), point(&name, own, 2.0)]);
            assert_eq!(send(&mut backend, &batch).await, Ok(Accepted::All));
        }
        let sums = influx.query(&format!("SELECT sum(counter), count(counter) FROM \"{name}\"")).unwrap();
        assert_eq!((value(&sums, "sum"), value(&sums, "count")), (json!(7), json!(1)), "{precision}");
        // The last point of one time wins.
        let points = rows(&influx.query(&format!("SELECT point FROM \"{name}\" WHERE point > 0")).unwrap());
        let step = match precision {
            "ns" => 1,
            "us" => 1_000,
            "ms" => 1_000_000,
            _ => 1_000_000_000,
        };
        assert_eq!(points, [json!({"time": own / step * step, "point": 2})], "{precision}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn good_points_beside_a_bad_one_arrive() {
    let Some(influx) = Influx::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut backend = writer(influx.port(), &directory, &[]);
    let (path, time) = ("/write?db=metrics&u=admin&p=secret", now());
    zibrato_trial::http::post(influx.port(), path, &[], "c3 counter=\"text\"\nc7 counter=1.5").unwrap();
    let counters = (0..10).map(|i| counter(&format!("c{i}"), i)).collect();
    let found = refused(send(&mut backend, &batch(time, counters)).await);
    assert_eq!(found.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [3, 7]);
    for (_, why) in &found {
        assert!(why.contains("field type conflict") && why.contains("already exists as type"), "{why}");
    }
    let found = rows(&influx.query("SELECT sum(counter) FROM /^c[^37]$/").unwrap());
    assert_eq!(found.iter().map(|row| row["sum"].as_i64().unwrap()).sum::<i64>(), 45 - 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_are_too_long_are_refused_alone() {
    let Some(influx) = Influx::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut backend = writer(influx.port(), &directory, &[]);
    let long = "x".repeat(70_000);
    let found = refused(
        send(&mut backend, &batch(now(), vec![counter("a", 1), counter(&long, 1), counter("b", 1)])).await,
    );
    assert_eq!(found.len(), 1);
    assert!(found[0].0 == 1 && found[0].1.contains("max key length exceeded"), "{found:?}");
    assert_eq!(value(&influx.query("SELECT sum(counter) FROM a, b").unwrap(), "sum"), json!(1));
    assert_eq!(rows(&influx.query("SELECT sum(counter) FROM a, b").unwrap()).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_the_retention_policy_is_refused_together() {
    let Some(influx) = Influx::start() else { return };
    influx.manage("CREATE RETENTION POLICY short ON metrics DURATION 1h REPLICATION 1");
    let directory = tempfile::tempdir().unwrap();
    let mut backend = writer(influx.port(), &directory, &["--retention-policy", "short"]);
    let time = now();
    let old = |i: u64| point("p", time - 86_400_000_000_000 - i, i as f64);
    let mut measurements: Vec<_> = (0..20).map(old).collect();
    measurements.push(counter("fresh", 1));
    let found = refused(send(&mut backend, &batch(time, measurements)).await);
    assert_eq!(found.len(), 20);
    assert!(found[0].1.contains("points beyond retention policy"), "{}", found[0].1);
    assert_eq!(value(&influx.query("SELECT sum(counter) FROM short.fresh").unwrap(), "sum"), json!(1));
    let all_old = batch(time, (0..20).map(old).collect());
    assert_eq!(refused(send(&mut backend, &all_old).await).len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_the_database_cost_only_what_is_beyond_them() {
    let Some(influx) = Influx::start_with("", "max-values-per-tag = 5") else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut backend = writer(influx.port(), &directory, &[]);
    let users = |range: std::ops::Range<i64>| {
        range.map(|i| tagged(counter("c", 1), &[("user", &i.to_string())])).collect()
    };
    // The limit holds for what was there before a request.
    assert_eq!(send(&mut backend, &batch(now() - 1_000_000_000, users(0..5))).await, Ok(Accepted::All));
    let found = refused(send(&mut backend, &batch(now(), users(0..8))).await);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].1.contains("max-values-per-tag limit exceeded"), "{found:?}");
    assert_eq!(value(&influx.query("SELECT sum(counter) FROM c").unwrap(), "sum"), json!(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_can_mend_keeps_the_batch() {
    let Some(influx) = Influx::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    let batch = batch(now(), vec![counter("c", 7)]);

    let mut backend = writer(influx.port(), &directory, &[]);
    let password = directory.path().join("password");
    std::fs::write(&password, "wrong-password").unwrap();
    let (why, _) = later(send(&mut backend, &batch).await);
    assert!(
        why.contains("answered 401: authorization failed: check the user name and the password"),
        "{why}"
    );
    assert!(!why.contains("wrong-password") && why.contains(&influx.port().to_string()), "{why}");
    std::fs::write(&password, Influx::PASSWORD).unwrap();
    assert_eq!(send(&mut backend, &batch).await, Ok(Accepted::All), "the password is read again");

    influx.manage("CREATE DATABASE other");
    let mut backend = writer(influx.port(), &directory, &["--database", "other"]);
    let (why, _) = later(send(&mut backend, &batch).await);
    assert!(why.contains("answered 403") && why.contains("check what the user"), "{why}");
    influx.manage("GRANT WRITE ON other TO writer");
    assert_eq!(send(&mut backend, &batch).await, Ok(Accepted::All));
    influx.manage("DROP DATABASE other");
    let (why, _) = later(send(&mut backend, &batch).await);
    assert!(why.contains("database not found") && why.contains("check that the database"), "{why}");

    let mut backend = writer(influx.port(), &directory, &["--retention-policy", "none"]);
    let (why, _) = later(send(&mut backend, &batch).await);
    assert!(why.contains("retention policy not found"), "{why}");

    let mut backend =
        self::backend(&["--url", &format!("http://127.0.0.1:{}", influx.port()), "--database", "m"]);
    let (why, _) = later(send(&mut backend, &batch).await);
    assert!(why.contains("answered 401: unable to parse authentication credentials"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_goes_in_parts() {
    let Some(influx) = Influx::start_with("max-body-size = 5000", "") else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut backend = writer(influx.port(), &directory, &[]);
    let mut measurements: Vec<_> = (0..300).map(|i| counter(&format!("counter.{i}"), i)).collect();
    measurements.push(counter(&"x".repeat(6000), 1));
    let found = refused(send(&mut backend, &batch(now(), measurements)).await);
    assert_eq!(found.len(), 1);
    assert!(found[0].0 == 300 && found[0].1.contains("answered 413"), "{found:?}");
    let sums = rows(&influx.query("SELECT sum(counter) FROM /^counter/").unwrap());
    assert_eq!(sums.iter().map(|row| row["sum"].as_i64().unwrap()).sum::<i64>(), 299 * 300 / 2);
}

/// Whatever text is a name or a tag, the line is taken, and what is stored is what was said to be stored.
#[tokio::test(flavor = "multi_thread")]
async fn odd_names_and_tags_survive() {
    let Some(influx) = Influx::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut backend = writer(influx.port(), &directory, &[]);
    let odd = "[a#,= \\\\\"'\n\t\u{0}time_ü\u{1f600}]{1,12}";
    let texts = proptest::collection::vec((odd, odd, odd, odd), 200);
    let mut runner = proptest::test_runner::TestRunner::default();
    let texts = texts.new_tree(&mut runner).unwrap().current();
    let mut measurements = Vec::new();
    for (name, source, tag, text) in &texts {
        let mut measurement = tagged(counter(name, 1), &[(tag, text), ("last", &format!("{text}\\"))]);
        measurement.series.source = source.clone();
        zibrato_worker::Backend::series(&backend, &mut measurement.series).unwrap();
        if !measurements.iter().any(|m: &zibrato_worker::Measurement| m.series == measurement.series) {
            measurements.push(measurement);
        }
    }
    let batch = batch(now(), measurements);
    assert_eq!(send(&mut backend, &batch).await, Ok(Accepted::All));
    for measurement in &batch.measurements {
        let series = &measurement.series;
        let name = series.name.replace('\\', "\\\\").replace('"', "\\\"");
        let answer = influx.query(&format!("SELECT counter FROM \"{name}\" GROUP BY *")).unwrap();
        let found = rows(&answer);
        let fits = |row: &&serde_json::Value| {
            row["source"] == series.source && series.tags.iter().all(|(name, value)| row[name] == *value)
        };
        assert!(found.iter().any(|row| fits(&row)), "{series:?} is not in {answer}");
    }
}
