//! What is written is read back, and what others have written is read, too.
#![allow(clippy::unwrap_used, reason = "a test; helpers outside #[test] functions are not told apart")]

use std::collections::BTreeMap;
use std::path::Path;

use proptest::collection::btree_map;
use proptest::prelude::*;
use zibrato_core::frame::{InstanceId, Kind, Total};
use zibrato_core::trace::{Hop, Verdict};
use zibrato_mtrace::{BadLine, Format, Line, OldForm, OldLine, Parsed, Step, parse};

/// Names as odd as they are allowed to be.
fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z._/-]{1,20}", "[ -~]{1,20}", "[^\\p{Cc}]{1,20}"]
        .prop_filter("names do not begin or end with blanks here", |name| name.trim() == name)
}

fn value() -> impl Strategy<Value = Total> {
    let fraction = prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL;
    prop_oneof![
        any::<i64>().prop_map(|whole| Total { whole, float: 0.0 }),
        fraction.prop_map(|float| Total { whole: 0, float }),
        Just(Total { whole: 0, float: 1e300 }),
        Just(Total { whole: 0, float: -2.5e-7 }),
    ]
}

fn line() -> impl Strategy<Value = Line> {
    let row =
        (name(), 0..6u64, value(), prop::option::of(any::<u64>()), name(), btree_map(name(), name(), 0..4));
    let place = (0..4_000_000_000_000_000_000u64, any::<u128>(), any::<u64>(), any::<u64>(), any::<bool>());
    let told = (0..6u64, 0..5u64, name(), prop::option::of(name()), prop::option::of(any::<u64>()));
    (row, place, told).prop_map(
        |(
            (metric, kind, value, count, source, tags),
            (time, instance, sequence, trace, repeat),
            (hop, verdict, by, text, batch),
        )| Line {
            time,
            hop: Hop::from_code(hop).unwrap(),
            verdict: Verdict::from_code(verdict).unwrap(),
            metric,
            kind: Kind::from_code(kind).unwrap(),
            value,
            count,
            source,
            tags,
            level: "info".into(),
            instance: InstanceId(instance.to_be_bytes()),
            sequence,
            trace,
            by,
            backend: text.clone(),
            batch,
            why: text,
            repeat,
        },
    )
}

fn old(text: &str) -> OldLine {
    match parse(text) {
        Ok(Parsed::Old(line)) => line,
        other => panic!("{text}: {other:?}"),
    }
}

/// As the older forms store what is no letter, digit or one of `_./-`.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_alphanumeric() || "_./-".contains(c) { c } else { '-' }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn json_comes_back_whole(line in line()) {
        let text = line.written(Format::Json);
        prop_assert!(!text.contains('\n'));
        prop_assert_eq!(parse(&text), Ok(Parsed::Line(line)));
    }

    #[test]
    fn the_older_forms_come_back_as_far_as_they_go(line in line()) {
        let text = line.written(Format::Text);
        prop_assert!(!text.contains('\n'));
        let read = match parse(&text) {
            Ok(Parsed::Old(read)) => read,
            other => return Err(TestCaseError::fail(format!("{text}: {other:?}"))),
        };
        let step = read.step;
        prop_assert_eq!(&read.metric, &line.metric, "{}", text);
        prop_assert_eq!(&read.mtrace, &line.trace.to_string());
        prop_assert_eq!(&read.timestamp, &(line.time / 1_000_000_000).to_string());
        prop_assert_eq!(read.number(), Some(line.value.value()));
        match step.hop() {
            Some(hop) => prop_assert_eq!(hop, line.hop),
            None => prop_assert!(matches!(line.verdict, Verdict::Refused | Verdict::Dropped)),
        }
        let mut tags = line.tags.clone();
        let hex = line.instance.to_string();
        tags.insert("mtrace".into(), line.trace.to_string());
        tags.insert("contextUUID".into(), [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"));
        tags.insert("device".into(), line.source.clone());
        tags.insert("key".into(), format!("info/{}", line.sequence));
        let more = [("backend", line.backend.clone()), ("batch", line.batch.map(|b| b.to_string())), ("why", line.why.clone())];
        tags.extend(more.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        if line.verdict != Verdict::Ok {
            tags.insert("verdict".into(), line.verdict.name().into());
        }
        let tags: BTreeMap<String, String> = match read.form {
            OldForm::Collector => tags,
            // These two cannot tell what is a tag from what looks like one, so it is written as it is stored.
            _ => tags.iter().map(|(name, value)| (clean(name), clean(value))).collect(),
        };
        prop_assert_eq!(read.tags, tags, "{}", text);
    }

    #[test]
    fn anything_else_is_refused_without_a_panic(text in ".*", cut in 0..400usize, line in line()) {
        let _ = parse(&text);
        for format in [Format::Json, Format::Text] {
            let whole = line.written(format);
            let _ = parse(&whole[..whole.floor_char_boundary(cut)]);
            let _ = parse(&(whole.clone() + &text));
            let _ = parse(&(text.clone() + &whole));
        }
    }
}

#[test]
fn spellings_that_tore_older_readers_are_read() {
    let collector = "2017-06-14 16:42:52,858 INFO zen.MetricWriter: mtrace: publishing metric my-host/a b {c} -1.5e-07 \
                     1497458572 {u'key': u\"it's\", 'mtrace': '5', 'n': None, 'x': 'a, \\'b\\': {'}";
    let read = old(collector);
    assert_eq!(
        (read.metric.as_str(), read.number(), read.mtrace.as_str()),
        ("my-host/a b {c}", Some(-1.5e-7), "5")
    );
    assert_eq!(read.tags["key"], "it's");
    assert_eq!((read.tags["n"].as_str(), read.tags["x"].as_str()), ("None", "a, 'b': {"));
    let none = collector.replace("-1.5e-07", "None");
    assert_eq!(old(&none).number(), None);

    let shipper = "time=\"2017-06-01T03:29:45Z\" level=info msg=sent elapsed=bad_tracetime metric=plain mtrace=abc \
                   tags=map[key:Devices/PS 2 WS-CAC device:a:b] timestamp=1 value=-2e+06 ";
    let read = old(shipper);
    assert_eq!(
        (read.metric.as_str(), read.elapsed.as_deref(), read.number()),
        ("plain", Some("bad_tracetime"), Some(-2e6))
    );
    assert_eq!((read.tags["key"].as_str(), read.tags["device"].as_str()), ("Devices/PS 2 WS-CAC", "a:b"));

    let metric = "metric=[Metric{metric='a', timestamp=1, value=NaN, tags={k=v, l=w}}]";
    for (message, step, said) in [
        ("", Step::Stored, ""),
        ("message='Publishing metric' ", Step::Stored, "Publishing metric"),
        ("message=\"Dropped bad metric x\" ", Step::Dropped, "Dropped bad metric x"),
        (
            "message='Converted metric. Output_string=\"put a 1 2 k=v\n\"' ",
            Step::Converted,
            "Converted metric. Output_string=\"put a 1 2 k=v\n\"",
        ),
    ] {
        let text =
            format!("WARN  [2017-06-01 03:29:45,189] a.b.Writer: mtrace=abc elapsed=-1 {message}{metric}");
        let read = old(&text);
        assert_eq!(
            (read.step, read.message.as_str(), read.elapsed.as_deref()),
            (step, said, Some("-1")),
            "{text}"
        );
        assert_eq!((read.level.as_str(), read.tags.len(), read.metric.as_str()), ("WARN", 2, "a"));
        let short = old(&text.replace("}}]", "}]"));
        assert_eq!(short.tags, read.tags);
    }
    assert_eq!(parse("2017-06-14 something else"), Err(BadLine::UnknownForm));
    assert!(matches!(parse("{\"hop\":1}"), Err(BadLine::Json { .. })));
    assert!(matches!(parse("time=\"x\" msg=sent"), Err(BadLine::Incomplete { form: OldForm::Shipper, .. })));
}

/// Lines of real systems with what their own reader made of them, where they are.
#[test]
fn lines_of_the_original_are_read_as_it_read_them() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/samples/mtrace_messages_oracle.json");
    let places = [
        file,
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples/mtrace_messages_oracle.json"),
    ];
    let Some(text) = places.iter().find_map(|place| std::fs::read_to_string(place).ok()) else {
        eprintln!("skipped: there is no file of the original's lines beside the clone");
        return;
    };
    let samples: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert!(!samples.is_empty());
    for sample in samples {
        let message = sample["message"].as_str().unwrap();
        let ought = &sample["original_parse"];
        let read = old(message);
        let is = |field: &str, value: &str| {
            if let Some(wanted) = ought[field].as_str() {
                assert_eq!(value, wanted, "{field} of {message}");
            }
        };
        is("logtime", &read.logged);
        is("level", &read.level);
        is("class", read.class.as_deref().unwrap_or_default());
        is("elapsed", read.elapsed.as_deref().unwrap_or_default());
        is("mtrace", &read.mtrace);
        is("msg", &read.message);
        let tags: BTreeMap<String, String> = serde_json::from_value(ought["tags"].clone()).unwrap();
        assert_eq!(read.tags, tags, "{message}");
        if read.form == OldForm::Consumer {
            // What it called the metric is the whole of it; its message had the quotes around it.
            let whole = ought["metric"].as_str().unwrap();
            let begin = format!(
                "Metric{{metric='{}', timestamp={}, value={},",
                read.metric, read.timestamp, read.value
            );
            assert!(whole.starts_with(&begin), "{whole} begins not with {begin}");
            let said = ought["message"].as_str().unwrap().trim_matches('"');
            let plain: String = read.message.split('\n').collect();
            assert_eq!(plain.trim_matches('"'), said);
        } else {
            is("metric", &read.metric);
            is("timestamp", &read.timestamp);
            is("value", &read.value);
        }
    }
}
