//! Remote write, batch by batch, to real servers.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use support::*;
use tokio::runtime::Runtime;
use zibrato_prometheus::remote_write::{Options, RemoteWrite};
use zibrato_trial::prometheus::{PrometheusSetup, query, query_with, value};
use zibrato_trial::{Victoria, free_port, until};
use zibrato_worker::{Accepted, Backend as _, BackendError, Batch, Measurement};

struct Writer {
    backend: RemoteWrite,
    runtime: Runtime,
}

impl Writer {
    fn new(port: u16, more: &[&str]) -> Writer {
        Writer::to(&format!("http://127.0.0.1:{port}/api/v1/write"), more)
    }

    fn to(url: &str, more: &[&str]) -> Writer {
        let backend = RemoteWrite::new(options::<Options>(&[&["--url", url], more].concat())).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Writer { backend, runtime }
    }

    fn batch(&self, measurements: Vec<Measurement>) -> Batch {
        batch(&self.backend, measurements)
    }

    fn send(&mut self, batch: &Batch) -> Result<Accepted, BackendError> {
        self.runtime.block_on(self.backend.send(batch))
    }
}

#[test]
fn whatever_is_measured_arrives() {
    let setup = PrometheusSetup { native_histograms: true, ..Default::default() };
    let (Some(prometheus), Some(victoria)) = (setup.start(), Victoria::start()) else { return };
    for port in [prometheus.port, victoria.port()] {
        let mut writer = Writer::new(port, &[]);
        let mut hostile = hostile();
        // Its own time is too old for a server that has newer ones.
        hostile.retain(|m| m.series.name != "point");
        let batch = writer.batch(hostile);
        assert_eq!(writer.send(&batch), Ok(Accepted::All));
        until("it has all", || {
            let _ = zibrato_trial::http::get(port, "/internal/force_flush");
            value(port, "labels_total")
        });
        assert_eq!(value(port, "clash_seconds_sum_counter_total"), Ok(1.0));
        assert_eq!(value(port, "clash_seconds_distribution_count"), Ok(1.0));
        assert_eq!(value(port, "most_total"), Ok(i64::MAX as f64));
        let labels = query(port, "labels_total").unwrap();
        assert_eq!(labels[0].labels.get("a_b").map(String::as_str), Some("1;2"));
        // A repeat is the same.
        assert_eq!(writer.send(&batch), Ok(Accepted::All));
    }
}

#[test]
fn series_begin_at_zero_and_end() {
    let Some(prometheus) = (PrometheusSetup { native_histograms: true, ..Default::default() }).start() else {
        return;
    };
    let mut writer = Writer::new(prometheus.port, &["--stale", "4"]);
    let old = writer.batch(vec![counter("old", 5), gauge("load", 1.0), timer("time", &[1_000_000])]);
    assert_eq!(writer.send(&old), Ok(Accepted::All));
    assert_eq!(value(prometheus.port, "load"), Ok(1.0));
    let mut new = counter("new", 7);
    let mut batch = writer.batch(vec![]);
    batch.from = old.time;
    new.since = old.time + (batch.time - old.time) / 2;
    batch.time += 2 * SECOND;
    writer.backend.series(&mut new.series).unwrap();
    batch.measurements = vec![new];
    assert_eq!(writer.send(&batch), Ok(Accepted::All));
    let at = format!("time={}&", batch.time / SECOND + 2);
    // What it was before it was first seen counts.
    let all = query_with(prometheus.port, &at, "max_over_time(new_total[1m]) - min_over_time(new_total[1m])");
    assert_eq!(all.unwrap()[0].value, 7.0);
    // What nobody has any more is no more.
    batch.time += 5 * SECOND;
    assert_eq!(writer.send(&batch), Ok(Accepted::All));
    let at = format!("time={}&", batch.time / SECOND + 1);
    for gone in ["old_total", "load", "time_seconds", "time_seconds_count"] {
        assert_eq!(query_with(prometheus.port, &at, gone), Ok(vec![]), "{gone}");
    }
    assert_eq!(query_with(prometheus.port, &at, "new_total").unwrap().len(), 1);
}

#[test]
fn good_series_beside_bad_ones_arrive() {
    let Some(prometheus) = PrometheusSetup::default().start() else { return };
    let mut writer = Writer::new(prometheus.port, &["--histograms", "classic"]);
    let first = writer.batch(vec![counter("a", 5), counter("b", 5), counter("c", 5)]);
    assert_eq!(writer.send(&first), Ok(Accepted::All));
    // One point long before what the server has, one at the time of another.
    let mut second = writer.batch(
        (0..50)
            .map(|i| counter(&format!("d{i}"), i))
            .chain([point("p", now() - 7200 * SECOND, 1.0)])
            .collect(),
    );
    second.time = first.time + SECOND;
    second.measurements.push(Measurement { value: counter("a", 9).value, ..first.measurements[0].clone() });
    let Ok(Accepted::Partly { refused, retry }) = writer.send(&second) else { panic!("all was taken") };
    assert_eq!((refused.len(), refused[0].0, retry), (1, 50, vec![]), "{refused:?}");
    assert!(refused[0].1.contains("out of bounds"), "{refused:?}");
    let at = format!("time={}&", second.time / SECOND + 1);
    assert_eq!(query_with(prometheus.port, &at, "a_total").unwrap()[0].value, 9.0);
    assert_eq!(query_with(prometheus.port, &at, "sum({__name__=~\"d.*_total\"})").unwrap()[0].value, 1225.0);
    // An earlier batch than what is stored does no harm, and is not tried for ever.
    let mut earlier = second.clone();
    (earlier.time, earlier.id) = (first.time + SECOND / 2, earlier.id + 1);
    earlier.measurements.truncate(20);
    assert_eq!(writer.send(&earlier), Ok(Accepted::All));
    // Another total at a time that is stored is a repeat of what came through.
    let mut again = second.clone();
    again.measurements = vec![Measurement { value: counter("a", 10).value, ..first.measurements[0].clone() }];
    assert_eq!(writer.send(&again), Ok(Accepted::All));
}

#[test]
fn what_is_too_old_is_given_up() {
    // Prometheus says 500, which others say while they are down.
    let setup = PrometheusSetup { out_of_order: true, ..Default::default() };
    let Some(prometheus) = setup.start() else { return };
    let mut writer = Writer::new(prometheus.port, &["--histograms", "classic"]);
    let all = || (0..500).map(|i| counter(&format!("c{i}"), i)).collect();
    let now = writer.batch(all());
    assert_eq!(writer.send(&now), Ok(Accepted::All));
    let mut old = writer.batch(all());
    old.time = now.time - 7200 * SECOND;
    let mut refused = 0;
    while refused < 500 {
        match writer.send(&old) {
            Ok(Accepted::Partly { refused: some, .. }) => {
                assert!(some[0].1.contains("500: too old sample"), "{some:?}");
                refused += some.len();
                let is_left = |(i, _): &(usize, _)| !some.iter().any(|(j, _)| i == j);
                let left = old.measurements.into_iter().enumerate().filter(is_left);
                old.measurements = left.map(|(_, measurement)| measurement).collect();
            }
            other => panic!("{other:?}"),
        }
    }
    // A little older is taken.
    let mut late = writer.batch(vec![counter("c1", 1)]);
    late.time = now.time - 60 * SECOND;
    assert_eq!(writer.send(&late), Ok(Accepted::All));
    let at = format!("time={}&", late.time / SECOND + 1);
    assert_eq!(query_with(prometheus.port, &at, "c1_total").unwrap().len(), 1);
}

#[test]
fn a_body_that_is_too_large_is_sent_in_parts() {
    let flags = ["-maxInsertRequestSize=3000"];
    let Some(victoria) = Victoria::start_with(&[], &flags) else { return };
    let mut writer = Writer::new(victoria.port(), &[]);
    let names = (0..300).map(|i| counter(&format!("c{i:03}"), i));
    // This one is too large alone.
    let one = counter("x", 1).value;
    let odd = |i: u64| format!("{:x}", i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let tags: Vec<(String, String)> = (1..300).map(|i| (format!("t{i}"), odd(i))).collect();
    let tags: Vec<(&str, &str)> = tags.iter().map(|(name, value)| (&**name, &**value)).collect();
    let batch = writer.batch(names.chain([measurement("huge", &tags, one)]).collect());
    let Ok(Accepted::Partly { refused, retry }) = writer.send(&batch) else { panic!("all was taken") };
    assert_eq!((refused.len(), refused[0].0, retry), (1, 300, vec![]), "{refused:?}");
    assert!(refused[0].1.contains("too big packed request"), "{refused:?}");
    until("the others are there", || {
        victoria.flush()?;
        match value(victoria.port(), "sum({__name__=~\"c.*_total\"})")? {
            44_850.0 => Ok(()),
            sum => Err(format!("they are {sum} together")),
        }
    });
}

#[test]
fn a_wrong_address_is_kept_for_later() {
    let Some(prometheus) = PrometheusSetup::default().start() else { return };
    let (port, other) = (prometheus.port, free_port());
    for (url, said) in [
        (format!("http://127.0.0.1:{port}/nowhere"), "answered 404"),
        (format!("http://127.0.0.1:{other}/"), "no answer from"),
    ] {
        let mut writer = Writer::to(&url, &[]);
        let batch = writer.batch(vec![counter("a", 5)]);
        match writer.send(&batch) {
            Err(BackendError::Retry { why, .. }) => assert!(why.contains(said), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_dry_run_shows_every_sample() {
    let backend = RemoteWrite::idle(options::<Options>(&["--timer-buckets", "0.5,1", "--username", "u"]));
    let mut batch =
        batch(&backend, vec![counter("app::calls", 5), timer("app.time", &[400_000_000, 2_000_000_000])]);
    batch.time = 1_795_289_340_123_000_000;
    let labels = "source=\"web1\"";
    assert_eq!(
        backend.render(&batch),
        format!(
            "POST http://127.0.0.1:9090/api/v1/write\n\
             app_calls_total{{code=\"200\",{labels}}} 5 1795289340123\n\
             app_time_seconds_bucket{{le=\"0.5\",{labels}}} 1 1795289340123\n\
             app_time_seconds_bucket{{le=\"1.0\",{labels}}} 1 1795289340123\n\
             app_time_seconds_bucket{{le=\"+Inf\",{labels}}} 2 1795289340123\n\
             app_time_seconds_count{{{labels}}} 2 1795289340123\n\
             app_time_seconds_sum{{{labels}}} 2.4 1795289340123\n\
             app_time_seconds{{{labels}}} {{count:2 sum:2.4 schema:6 zero:0 positive:[-84:1 65:1] negative:[]}} \
             1795289340123\n\
             # app_calls Counter \"\" \"What app::calls is.\"\n\
             # app_time_seconds Histogram \"seconds\" \"What app.time is.\"\n"
        )
    );
}
