//! What a line says, and that the documentation says so.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use serde_json::{Value as Json, json};
use support::*;
use zibrato_worker::{Backend as _, Kind, Measurement, Total, Value};

fn lines(measurements: Vec<Measurement>) -> Vec<Json> {
    let text = backend(&[]).render(&batch(17, measurements));
    assert!(text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// One of each kind, as in the documentation.
fn examples() -> Vec<Measurement> {
    let timer = Value::Timer(summary(&[50_000_000; 4]));
    let mut sizes = measurement("app::sizes", Kind::Distribution, Value::Distribution(summary(&[512; 3])));
    sizes.unit = Some("By".into());
    vec![
        counter("app::calls", 42),
        measurement("app::users", Kind::Updown, Value::Updown(Total::whole(-3))),
        gauge("app::heat", 21.5, None),
        measurement("app::time", Kind::Timer, timer),
        sizes,
        measurement("app::rain", Kind::Point, Value::Point { time: 1_795_288_465_250_000_000, value: 0.5 }),
    ]
}

#[test]
fn the_documentation_shows_what_is_written() {
    let documentation = include_str!("../../docs/json.md");
    let written = backend(&[]).render(&batch(17, examples()));
    let shown = documentation.split("```jsonl\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(shown, written);
    for line in lines(examples()) {
        for field in line.as_object().unwrap().keys() {
            assert!(documentation.contains(&format!("| `{field}`")), "{field} is not documented");
        }
    }
}

#[test]
fn numbers_keep_their_digits() {
    let value = |total| {
        let measurement = measurement("c", Kind::Counter, Value::Counter(total));
        lines(vec![measurement])[0]["value"].clone()
    };
    assert_eq!(value(Total::whole(i64::MAX)), json!(i64::MAX));
    assert_eq!(value(Total { whole: 2, float: 0.25 }), json!(2.25));
    let line = &lines(vec![gauge("g", f64::NAN, None)])[0];
    assert_eq!(line["value"], Json::Null);
}

#[test]
fn statistics_are_there_where_there_are_values() {
    let line = &lines(vec![gauge("g", 2.0, Some((3, 6.0, 1.0, 3.0)))])[0];
    let figures = ["value", "count", "sum", "min", "max", "mean"].map(|field| line[field].as_f64().unwrap());
    assert_eq!(figures, [2.0, 3.0, 6.0, 1.0, 3.0, 2.0]);
    let mut left_over = summary(&[]);
    left_over.sum = Total::whole(2_500_000_000);
    let line = &lines(vec![measurement("t", Kind::Timer, Value::Timer(left_over))])[0];
    assert_eq!((&line["count"], &line["sum"]), (&json!(0), &json!(2.5)));
    assert_eq!((line.get("min"), line.get("p99")), (None, None));
}

#[test]
fn odd_texts_survive() {
    let mut odd = counter("tab\t\"quote\" \u{1f600}\n", 1);
    odd.series.tags = vec![("a b".into(), "\\,=\u{7f}\0".into())];
    let line = &lines(vec![odd.clone()])[0];
    assert_eq!(line["name"], json!(odd.series.name));
    assert_eq!(line["tags"], json!({"a b": "\\,=\u{7f}\0"}));
}
