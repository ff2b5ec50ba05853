//! What measurements become.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use clap::Parser;
use zibrato_graphite::{Graphite, Options};
use zibrato_worker::{
    Backend as _, Batch, GaugeSummary, Histogram, Kind, Measurement, Series, Summary, Total, Value,
};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

/// What would be sent of one measurement of the source `web.1`.
fn rendered(arguments: &[&str], name: &str, kind: Kind, value: Value) -> String {
    let backend = Graphite::new(Cli::parse_from(["test"].iter().chain(arguments)).options);
    let tags = vec![("code".into(), "200".into()), ("path".into(), "/a b;c".into())];
    let mut series = Series { name: name.into(), source: "web.1".into(), tags, kind };
    backend.series(&mut series).unwrap();
    let measurement = Measurement {
        series,
        level: "info".into(),
        unit: None,
        help: None,
        since: 0,
        trace: Default::default(),
        value,
    };
    let time = 1_800_000_000_000_000_000;
    backend.render(&Batch { id: 1, from: 0, time, measurements: vec![measurement] })
}

fn counter(arguments: &[&str], name: &str) -> String {
    rendered(arguments, name, Kind::Counter, Value::Counter(Total::whole(3)))
}

#[test]
fn tags_go_into_the_path_or_are_tags() {
    assert_eq!(counter(&[], "app::hits"), "web_1.app.hits.code_200.path__a_b_c.count 3 1800000000\n");
    let series = counter(&["--tags", "series"], "app::hits");
    assert_eq!(series, "app.hits.count;code=200;path=/a_b_c;source=web.1 3 1800000000\n");
    let template = ["--tags", "series", "--template", "prod.{source}.{name}"];
    assert_eq!(counter(&template, "hits"), "prod.web_1.hits.count;code=200;path=/a_b_c 3 1800000000\n");
}

#[test]
fn paths_have_no_odd_nodes() {
    let name = |name: &str| counter(&["--tags", "series", "--template", "{name}"], name);
    for (odd, plain) in [("a b\nc", "a_b_c"), (".a..b.", "a.b"), ("gr\u{fc}n/\u{0}", "gr_n__")] {
        assert!(name(odd).starts_with(&format!("{plain}.count;")), "{odd:?}: {}", name(odd));
    }
}

#[test]
fn every_kind_has_its_lines() {
    let line = |kind, value| rendered(&["--tags", "series"], "m", kind, value);
    let tags = ";code=200;path=/a_b_c;source=web.1";
    assert_eq!(
        line(Kind::Updown, Value::Updown(Total { whole: -2, float: 0.5 })),
        format!("m.count{tags} -1.5 1800000000\n")
    );
    let gauge = Value::Gauge(GaugeSummary { last: -0.25, statistics: None });
    assert_eq!(line(Kind::Gauge, gauge), format!("m{tags} -0.25 1800000000\n"));
    let point = Value::Point { time: 1_700_000_000_999_000_000, value: 4.0 };
    assert_eq!(line(Kind::Point, point), format!("m{tags} 4 1700000000\n"));
    let gauge = Value::Gauge(GaugeSummary { last: f64::NAN, statistics: None });
    assert_eq!(line(Kind::Gauge, gauge), "not sent: m: its value is not finite\n");

    let mut histogram = Histogram::default();
    [500_000_000.0, 1_500_000_000.0].iter().for_each(|&value| assert!(histogram.record(value)));
    let sum = Total::whole(2_000_000_000);
    let summary = Summary { sum, min: 5e8, max: 1.5e9, approximate: false, histogram };
    let timer = line(Kind::Timer, Value::Timer(summary.clone()));
    let figure = |name: &str, value: &str| format!("m.{name}{tags} {value} 1800000000\n");
    let exact = [("count", "2"), ("sum", "2"), ("min", "0.5"), ("max", "1.5"), ("mean", "1")];
    let begin: String = exact.iter().map(|(name, value)| figure(name, value)).collect();
    assert!(timer.starts_with(&begin), "{timer}");
    assert!(timer.contains("m.p50;") && timer.contains("m.p99;") && timer.lines().count() == 8, "{timer}");
    let distribution = line(Kind::Distribution, Value::Distribution(summary));
    assert!(distribution.contains(&figure("sum", "2000000000")), "{distribution}");
}

#[test]
fn bad_options_are_told() {
    for (option, bad) in [("--template", "x"), ("--template", "{name} "), ("--step", "0"), ("--address", "c")]
    {
        assert!(Cli::try_parse_from(["test", option, bad]).is_err(), "{option} {bad}");
    }
}
