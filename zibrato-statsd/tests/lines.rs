//! What measurements become.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use support::*;
use zibrato_worker::{Backend as _, Kind, Total, Value};

fn tagged(kind: Kind, value: Value) -> zibrato_worker::Measurement {
    measurement("app::requests", &[("code", "200"), ("path", "/a|b:c d")], kind, value)
}

#[test]
fn every_dialect_writes_tags_in_its_own_way() {
    let line = |dialect: &str| {
        let counter = tagged(Kind::Counter, Value::Counter(Total::whole(3)));
        rendered(&["--dialect", dialect], vec![counter])
    };
    assert_eq!(line("statsd"), "web1.app.requests.code_200.path__a_b_c_d:3|c\n");
    assert_eq!(line("dogstatsd"), "app.requests:3|c|#code:200,path:/a_b:c_d,source:web1\n");
    assert_eq!(line("influx"), "app.requests,code=200,path=/a_b_c_d,source=web1:3|c\n");
    assert_eq!(line("graphite"), "app.requests;code=200;path=/a_b_c_d;source=web1:3|c\n");
    assert_eq!(line("librato"), "app.requests#code=200,path=/a_b_c_d,source=web1:3|c\n");
}

#[test]
fn templates_say_where_the_source_goes() {
    let line = |arguments: &[&str]| rendered(arguments, vec![counter("hits", 1)]);
    assert_eq!(line(&["--template", "prod.{name}.{source}"]), "prod.hits.web1:1|c\n");
    assert_eq!(line(&["--template", "{name}"]), "hits:1|c\n");
    let dogstatsd = ["--dialect", "dogstatsd", "--template", "{source}.{name}"];
    assert_eq!(line(&dogstatsd), "web1.hits:1|c\n");
}

#[test]
fn names_have_nothing_in_them_that_a_daemon_would_understand() {
    for (name, line) in [
        ("a:b|c@d#e\nf", "web1.a_b_c_d_e_f:1|c\n"),
        ("a::b..c.", "web1.a.b.c:1|c\n"),
        ("gr\u{fc}n", "web1.gr_n:1|c\n"),
        ("a=b;c,d", "web1.a_b_c_d:1|c\n"),
    ] {
        assert_eq!(rendered(&[], vec![counter(name, 1)]), line);
    }
    let backend = backend(&[]);
    let mut series = counter("::", 1).series;
    assert_eq!(backend.series(&mut series).unwrap_err(), "its name is empty");
}

#[test]
fn tags_that_would_become_one_stay_apart() {
    let tags = [("a b", "1"), ("a_b", "2"), ("source", "3")];
    let counter = measurement("n", &tags, Kind::Counter, Value::Counter(Total::whole(1)));
    let line = rendered(&["--dialect", "graphite"], vec![counter]);
    assert_eq!(line, "n;a_b=1;a_b_2=2;source=web1;source_2=3:1|c\n");
}

#[test]
fn values_keep_every_digit() {
    let values = vec![
        counter("a", i64::MAX),
        measurement("b", &[], Kind::Counter, Value::Counter(Total { whole: 1, float: 0.25 })),
        counter("c", 0),
        updown("d", 3),
        updown("e", -2),
        updown("f", 0),
        gauge("g", 21.5),
        gauge("h", -0.5),
        gauge("i", -0.0),
    ];
    let lines = "web1.a:9223372036854775807|c\nweb1.b:1.25|c\nweb1.d:+3|g\nweb1.e:-2|g\nweb1.g:21.5|g\n\
                 web1.h:0|g\nweb1.h:-0.5|g\nweb1.i:0|g\n";
    assert_eq!(rendered(&[], values), lines);
    assert_eq!(rendered(&["--updown", "counter"], vec![updown("e", -2)]), "web1.e:-2|c\n");
    let dogstatsd = rendered(&["--dialect", "dogstatsd"], vec![gauge("h", -0.5), updown("e", -2)]);
    assert_eq!(dogstatsd, "h:-0.5|g|#source:web1\ne:-2|c|#source:web1\n");
}

#[test]
fn what_is_not_finite_is_refused_and_nothing_beside_it() {
    let text = rendered(&[], vec![counter("a", 1), gauge("b", f64::NAN), counter("c", 2)]);
    assert_eq!(text, "web1.a:1|c\nweb1.c:2|c\nnot sent: web1.b: its value is not finite\n");
}

#[test]
fn timers_are_aggregates_in_milliseconds() {
    let text = rendered(&[], vec![timer("t", &[1_000_000, 2_000_007, 300_000_000])]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..5],
        [
            "web1.t.count:3|c",
            "web1.t.sum:303.000007|c",
            "web1.t.min:1|g",
            "web1.t.max:300|g",
            "web1.t.mean:101.000002|g"
        ]
    );
    assert!(lines[5].starts_with("web1.t.p50:2.0") || lines[5].starts_with("web1.t.p50:1.99"), "{text}");
    assert_eq!((lines[7], lines.len()), ("web1.t.p99:300|g", 8));
    let graphite = rendered(&["--dialect", "graphite"], vec![distribution("d", &[5, 5])]);
    assert!(graphite.starts_with("d.count;source=web1:2|c\nd.sum;source=web1:10|c\nd.min;source=web1:5|g\n"));
}

/// Counts, sums and lines of what is rendered.
fn sampled(text: &str) -> (f64, f64, usize) {
    let mut all = (0.0, 0.0, 0);
    for line in text.lines() {
        let (values, rest) = line.split_once(':').unwrap().1.split_once('|').unwrap();
        let rate =
            rest.split('|').find_map(|part| part.strip_prefix('@')).map_or(1.0, |rate| rate.parse().unwrap());
        for value in values.split(':') {
            all.0 += 1.0 / rate;
            all.1 += value.parse::<f64>().unwrap() / rate;
        }
        all.2 += 1;
    }
    all
}

#[test]
fn samples_stand_for_all_values() {
    let values: Vec<u64> = (1..=12_345).map(|i| i * 1_000_003).collect();
    let sum = values.iter().sum::<u64>() as f64 / 1e6;
    let few = rendered(
        &["--address", "tcp://h", "--timers", "samples", "--samples", "50"],
        vec![timer("t", &values)],
    );
    let (count, total, lines) = sampled(&few);
    assert_eq!(count, 12_345.0);
    assert!(
        (total / sum - 1.0).abs() < 0.01 && (50..=60).contains(&lines),
        "{total} is not {sum}, {lines} lines"
    );
    let small =
        rendered(&["--address", "tcp://h", "--timers", "samples"], vec![timer("t", &[7_000_000, 8_000_000])]);
    assert_eq!(small, "web1.t:7|ms\nweb1.t:8|ms\n");

    let packed =
        rendered(&["--address", "tcp://h", "--dialect", "dogstatsd"], vec![distribution("d", &values)]);
    let (count, total, lines) = sampled(&packed);
    assert_eq!(count, 12_345.0);
    assert!((total / (sum * 1e6) - 1.0).abs() < 1e-3, "{total} is not {sum}");
    assert!(packed.lines().all(|line| line.contains("|d") && line.ends_with("|#source:web1")), "{packed}");
    assert!(lines < 700, "{lines}");
    let two = rendered(
        &["--address", "tcp://h", "--dialect", "dogstatsd"],
        vec![timer("t", &[5_000_000, 900_000_000])],
    );
    assert_eq!(two, "t:5:900|ms|#source:web1\n");
}

#[test]
fn samples_below_zero_are_refused_where_the_daemon_would() {
    let mut below = distribution("d", &[1]);
    if let Value::Distribution(summary) = &mut below.value {
        assert!(summary.histogram.record(-2.0));
        summary.min = -2.0;
    }
    let text = rendered(&["--timers", "samples"], vec![below.clone()]);
    assert!(text.contains("not sent: web1.d: StatsD takes no values below 0"), "{text}");
    assert!(rendered(&[], vec![below]).contains("web1.d.min:0|g\nweb1.d.min:-2|g\n"));
}

#[test]
fn times_are_sent_where_they_are_taken() {
    let point =
        measurement("p", &[], Kind::Point, Value::Point { time: 1_700_000_000_000_000_000, value: 4.0 });
    let text = rendered(&["--dialect", "dogstatsd", "--timestamps"], vec![counter("c", 1), point.clone()]);
    assert_eq!(text, "c:1|c|#source:web1|T1800000000\np:4|g|#source:web1|T1700000000\n");
    assert_eq!(rendered(&[], vec![point]), "web1.p:4|g\n");
}

#[test]
fn packets_are_full_and_no_line_is_split() {
    let counters = (0..100).map(|i| counter(&format!("metric.{i}"), i)).collect();
    let text = rendered(&["--mtu", "548"], counters);
    let packets: Vec<&str> = text.trim_end().split("\n\n").collect();
    assert!(packets.iter().all(|packet| packet.len() <= 500), "{text}");
    assert!(packets.len() < 6, "{}", packets.len());
    assert_eq!(packets.iter().map(|packet| packet.lines().count()).sum::<usize>(), 99);
    let long = rendered(&["--mtu", "128"], vec![counter(&"x".repeat(90), 1), counter("y", 1)]);
    assert!(long.starts_with("web1.y:1|c\nnot sent: "), "{long}");
}

#[test]
fn options_that_contradict_each_other_are_told() {
    let failed =
        |arguments: &[&str]| zibrato_statsd::Statsd::new(options(arguments)).unwrap_err().to_string();
    assert!(failed(&["--dialect", "dogstatsd", "--updown", "gauge"]).contains("use --updown counter"));
    assert!(failed(&["--timestamps"]).contains("leave out --timestamps"));
}
