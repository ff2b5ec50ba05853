//! What a batch looks like when it is sent.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use support::*;
use zibrato_worker::{Backend, Batch, GaugeSummary, Kind, Series, Total, Value};

const T: u64 = 1_795_289_340;

fn rendered(more: &[&str], measurements: Vec<zibrato_worker::Measurement>) -> (String, Vec<Json>) {
    let endpoint = endpoint();
    let backend = backend(&endpoint, more);
    let text = backend.render(&cleaned(&backend, batch(T, measurements))).replace(&endpoint.url(), "URL");
    let (line, body) = text.split_once('\n').unwrap();
    let body: Json = serde_json::from_str(body).unwrap();
    let entries = body.get("gauges").or(body.get("measurements")).unwrap().as_array().unwrap().clone();
    (line.to_owned(), entries)
}

#[test]
fn gauges_of_metrics() {
    let load = Value::Gauge(GaugeSummary { last: 2.0, statistics: Some((4, 10.0, 1.0, 4.5)) });
    let (line, entries) = rendered(
        &[],
        vec![
            counter("reqs", 42),
            timer("rt", &[500_000_000, 250_000_000, 750_000_000]),
            gauge("temp", 21.5),
            measurement("load", Kind::Gauge, load),
            point("p", (T - 9) * 1_000_000_000 + 999, 1.0),
            measurement("w", Kind::Counter, Value::Counter(Total { whole: 2, float: 0.5 })),
        ],
    );
    assert_eq!(line, "POST URL/v1/metrics");
    let common = |name: &str| json!({"name": name, "source": "web1", "measure_time": T, "period": 10});
    let with = |name: &str, more: Json| {
        let mut entry = common(name);
        more.as_object().unwrap().iter().for_each(|(k, v)| entry[k] = v.clone());
        entry
    };
    assert_eq!(entries[0], with("reqs", json!({"value": 42})));
    let squares = entries[1]["sum_squares"].as_f64().unwrap();
    assert!((squares / 0.875 - 1.0).abs() < 0.011, "{squares}");
    let timer =
        json!({"count": 3, "sum": 1.5, "min": 0.25, "max": 0.75, "sum_squares": entries[1]["sum_squares"]});
    assert_eq!(entries[1], with("rt", timer));
    assert_eq!(entries[2], with("temp", json!({"value": 21.5})));
    assert_eq!(entries[3], with("load", json!({"count": 4, "sum": 10, "min": 1, "max": 4.5})));
    assert_eq!(entries[4], with("p", json!({"value": 1, "measure_time": T - 9})));
    assert_eq!(entries[5], with("w", json!({"value": 2.5})));
}

#[test]
fn tagged_measurements() {
    let mut tagged = timer("rt", &[500_000_000, 250_000_000]);
    tagged.series.tags = vec![("Code".into(), "2xx/ok?".into()), ("source".into(), "tag".into())];
    let (line, entries) = rendered(&["--api", "measurements"], vec![tagged, counter("c", 1)]);
    assert_eq!(line, "POST URL/v1/measurements");
    assert_eq!(entries[0]["tags"], json!({"source": "web1", "code": "2xx/ok?", "tag_source": "tag"}));
    assert_eq!((&entries[0]["count"], &entries[0]["sum"]), (&json!(2), &json!(0.75)));
    let deviation = entries[0]["stddev"].as_f64().unwrap();
    assert!((deviation / 0.125 - 1.0).abs() < 0.03, "{deviation}");
    assert_eq!(
        entries[1],
        json!({"name": "c", "tags": {"source": "web1"}, "time": T, "period": 10, "value": 1})
    );
}

fn clean(more: &[&str], name: &str, source: &str, tags: &[(&str, &str)]) -> Series {
    let endpoint = endpoint();
    let tags = tags.iter().map(|&(n, v)| (n.into(), v.into())).collect();
    let mut series = Series { name: name.into(), source: source.into(), tags, kind: Kind::Counter };
    backend(&endpoint, more).series(&mut series).unwrap();
    series
}

#[test]
fn names_and_sources_are_made_to_fit() {
    let s = clean(&[], "My-Name.a:b_c/d e|f", "my-host", &[]);
    assert_eq!((&*s.name, &*s.source), ("my-name.a:b_c:d:e:f", "my-host"));
    assert_eq!(clean(&[], "größe;<=>?@[\\]^", "s", &[]).name, "gr::e::::::::::");
    assert_eq!(clean(&[], "n", "a/b c", &[]).source, "a:b:c");
    assert_eq!(clean(&[], "n", "ALL", &[]).source, "all_");
    assert_eq!(clean(&["--api", "measurements"], "n", "all", &[]).source, "all");
    let s = clean(&[], "n", "web1", &[("code", "200"), ("Region", "EU west")]);
    assert_eq!((&*s.source, s.tags.len()), ("web1:code-200:region-eu:west", 0));
    assert_eq!(clean(&["--kind-suffix"], "n", "s", &[]).name, "n.counter");
}

#[test]
fn counters_that_may_fall_are_of_one_series_with_those_that_may_not() {
    let stored = |more: &[&str], kind| {
        let mut series = Series { name: "n".into(), source: "s".into(), tags: Vec::new(), kind };
        backend(&endpoint(), more).series(&mut series).unwrap();
        series
    };
    assert_eq!(stored(&[], Kind::Updown), stored(&[], Kind::Counter));
    let suffix = &["--kind-suffix"];
    assert_ne!(stored(suffix, Kind::Updown), stored(suffix, Kind::Counter));
    assert_ne!(stored(&[], Kind::Gauge), stored(&[], Kind::Counter));
}

#[test]
fn long_names_stay_different() {
    let (a, b) = (format!("{}a", "x".repeat(300)), format!("{}b", "x".repeat(300)));
    let (a, b) = (clean(&[], &a, &b, &[]), clean(&[], &b, &a, &[]));
    assert!(a.name.len() == 255 && a.source.len() == 255);
    assert!(a.name.starts_with("xxx") && a.name != b.name && a.source != b.source);
    let exact = "y".repeat(255);
    assert_eq!(clean(&[], &exact, "s", &[]).name, exact);
}

#[test]
fn tags_are_made_to_fit() {
    let long = "v".repeat(300);
    let name = "n".repeat(80);
    let s = clean(
        &["--api", "measurements"],
        "n",
        "s",
        &[("A b", "1,2"), ("a:b", "x"), (&name, &long), ("e", "")],
    );
    assert_eq!(s.tags[0], ("a:b".into(), "1:2".into()));
    assert_eq!(s.tags[1], ("a:b_2".into(), "x".into()));
    assert_eq!((s.tags[2].0.len(), s.tags[2].1.len(), s.tags.len()), (64, 255, 3));
}

#[test]
fn unfit_series_are_refused() {
    let endpoint = endpoint();
    let backend = backend(&endpoint, &["--api", "measurements"]);
    let mut empty = series("", "s", Kind::Gauge);
    assert!(backend.series(&mut empty).is_err());
    let mut many = series("n", "s", Kind::Gauge);
    many.tags = (0..50).map(|i| (format!("t{i}"), "v".into())).collect();
    assert!(backend.series(&mut many).unwrap_err().contains("50 tags"));
    many.tags.pop();
    assert_eq!(backend.series(&mut many), Ok(()));
}

#[test]
fn dry_run_says_what_is_left_out() {
    let endpoint = endpoint();
    let backend = backend(&endpoint, &[]);
    let text = backend.render(&batch(T, vec![gauge("bad", f64::NAN), timer("none", &[]), counter("c", 1)]));
    assert!(
        text.ends_with(
            "not sent: bad of \"web1\": it is not a finite number, or its magnitude is above 1e126"
        )
    );
    assert_eq!(text.lines().count(), 3);
    assert_eq!(backend.render(&Batch { id: 1, from: 0, time: 0, measurements: Vec::new() }), "");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// Whatever names, tags and numbers there are, nothing that is sent breaks a rule.
    #[test]
    fn what_is_sent_breaks_no_rule(
        metrics in any::<bool>(),
        rows in proptest::collection::vec(
            (".{1,20}", ".{1,20}", proptest::collection::vec((".{0,70}", ".{0,9}"), 0..5), any::<f64>(), any::<i64>(),
                proptest::collection::vec(0..u64::MAX >> 12, 0..5), 0..5),
            1..20)
    ) {
        let endpoint = endpoint();
        let mut backend = backend(&endpoint, &["--api", if metrics { "metrics" } else { "measurements" }]);
        let mut seen = std::collections::HashSet::new();
        let mut all = Vec::new();
        for (name, source, tags, float, whole, times, kind) in rows {
            let (kind, value) = match kind {
                0 => (Kind::Counter, Value::Counter(Total { whole, float: 0.0 })),
                1 => (Kind::Updown, Value::Updown(Total { whole, float })),
                2 => (Kind::Timer, Value::Timer(summary(&times))),
                3 => (Kind::Distribution, Value::Distribution(summary(&times))),
                _ => (Kind::Gauge, Value::Gauge(GaugeSummary { last: float, statistics: None })),
            };
            let mut series = Series { name, source, tags, kind };
            if backend.series(&mut series).is_ok() && seen.insert(series.clone()) {
                all.push(zibrato_worker::Measurement { series, ..measurement("", kind, value) });
            }
        }
        let batch = batch(now(), all);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(backend.send(&batch)).unwrap();
        prop_assert_eq!(endpoint.violations(), Vec::<String>::new());
    }
}

#[test]
fn what_a_metric_means_goes_with_it() {
    let mut size = gauge("size", 3.0);
    (size.unit, size.help) = (Some("By".into()), Some("Bytes of a body.".into()));
    let (_, entries) = rendered(&[], vec![size.clone(), gauge("other", 1.0)]);
    assert_eq!(entries[0]["description"], "Bytes of a body.");
    assert_eq!(entries[0]["attributes"], json!({"display_units_short": "By"}));
    assert!(entries[1].get("description").is_none() && entries[1].get("attributes").is_none());
    let (_, entries) = rendered(&["--api", "measurements"], vec![size]);
    assert_eq!(entries[0]["attributes"], json!({"display_units_short": "By"}));
    assert!(entries[0].get("description").is_none(), "this interface has no descriptions");
}
