//! Batches of totals for the tests.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use clap::Parser;
use zibrato_worker::{
    Backend, Batch, GaugeSummary, Histogram, Kind, Measurement, Series, Summary, Total, Trace, Value,
};

pub const SECOND: u64 = 1_000_000_000;

#[derive(Parser)]
struct Cli<O: clap::Args> {
    #[command(flatten)]
    options: O,
}

pub fn options<O: clap::Args>(arguments: &[&str]) -> O {
    Cli::parse_from(["test"].iter().chain(arguments)).options
}

pub fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64
}

pub fn measurement(name: &str, tags: &[(&str, &str)], value: Value) -> Measurement {
    let kind = match value {
        Value::Counter(_) => Kind::Counter,
        Value::Updown(_) => Kind::Updown,
        Value::Timer(_) => Kind::Timer,
        Value::Distribution(_) => Kind::Distribution,
        Value::Gauge(_) => Kind::Gauge,
        Value::Point { .. } => Kind::Point,
    };
    let tags = tags.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let series = Series { name: name.into(), source: "web1".into(), tags, kind };
    Measurement {
        series,
        level: "info".into(),
        unit: None,
        help: Some(format!("What {name} is.")),
        since: 1_795_289_340_000_000_000,
        value,
        trace: Trace::None,
    }
}

pub fn counter(name: &str, whole: i64) -> Measurement {
    measurement(name, &[("code", "200")], Value::Counter(Total::whole(whole)))
}

pub fn gauge(name: &str, last: f64) -> Measurement {
    measurement(name, &[], Value::Gauge(GaugeSummary { last, statistics: None }))
}

pub fn updown(name: &str, whole: i64) -> Measurement {
    measurement(name, &[], Value::Updown(Total::whole(whole)))
}

pub fn point(name: &str, time: u64, value: f64) -> Measurement {
    measurement(name, &[], Value::Point { time, value })
}

pub fn timer(name: &str, nanoseconds: &[u64]) -> Measurement {
    let values: Vec<f64> = nanoseconds.iter().map(|&v| v as f64).collect();
    let sum = Total::whole(nanoseconds.iter().sum::<u64>() as i64);
    measurement(name, &[], Value::Timer(summary(&values, sum)))
}

pub fn distribution(name: &str, values: &[f64]) -> Measurement {
    let sum = Total { whole: 0, float: values.iter().sum() };
    measurement(name, &[], Value::Distribution(summary(values, sum)))
}

fn summary(values: &[f64], sum: Total) -> Summary {
    let mut histogram = Histogram::default();
    values.iter().for_each(|&v| assert!(histogram.record(v)));
    Summary {
        sum,
        min: values.iter().copied().reduce(f64::min).unwrap_or_default(),
        max: values.iter().copied().reduce(f64::max).unwrap_or_default(),
        approximate: false,
        histogram,
    }
}

/// A batch of now whose series were cleaned, as the kit does.
pub fn batch<B: Backend>(backend: &B, measurements: Vec<Measurement>) -> Batch {
    let time = now();
    let mut batch = Batch { id: time, from: time - 10 * SECOND, time, measurements };
    batch.measurements.iter_mut().for_each(|m| backend.series(&mut m.series).unwrap());
    batch
}

/// The true quantile: the value at rank ⌈q·n⌉.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[((q * values.len() as f64).ceil() as usize).clamp(1, values.len()) - 1]
}

/// Names and tags that could break an exposition, and kinds that clash.
pub fn hostile() -> Vec<Measurement> {
    let long = "x".repeat(5000);
    let mut all = vec![
        gauge("clash", 1.0),
        updown("clash", 2),
        counter("clash", 3),
        timer("clash", &[5, 7]),
        distribution("clash", &[-5.0, 0.0, 7.0]),
        distribution("clash_seconds", &[1.0]),
        gauge("clash_count", 1.0),
        gauge("clash_bucket", 1.0),
        counter("clash_seconds_sum", 1),
        gauge("clash_created", 1.0),
        gauge("zibrato_last_batch_timestamp_seconds", 1.0),
        gauge("9 lives\u{1F408}", 9.0),
        gauge("…", 0.0),
        gauge(&long, 1.0),
        gauge(&format!("{long}y"), 1.0),
        gauge("not_a_number", f64::NAN),
        gauge("infinite", f64::NEG_INFINITY),
        gauge("smallest", f64::MIN_POSITIVE / 3.0),
        gauge("largest", f64::MAX),
        counter("most", i64::MAX),
        measurement(
            "labels",
            &[
                ("le", "1"),
                ("quantile", "2"),
                ("source", "x"),
                ("__name__", "evil"),
                ("a.b", "1"),
                ("a-b", "2"),
                ("\u{e4}", "\"\\\n\r\0\u{1b}\u{2028}} # EOF"),
                (&long, &long),
                ("job", "j"),
                ("instance", "i"),
            ],
            Value::Counter(Total::whole(1)),
        ),
    ];
    all.push(point("point", 1_795_289_340_000_000_000, 4.0));
    all[0].help = Some("a \"quoted\" \\ help\nin two lines\r\0".into());
    all[3].unit = Some("ns".into());
    all[4].unit = Some("{queue \"x\n}".into());
    all
}
