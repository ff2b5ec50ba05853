//! Names and labels as Prometheus stores them.
//!
//! A metric is named by the characters `a-z A-Z 0-9 _`; every other one becomes `_`, several `_` in a row become one,
//! and a name that begins with a digit gets a `_` before it. The kind adds an ending where the name does not have it
//! already: `_total` for counters, `_seconds` for timers. What then is one name with the same labels is one series, and
//! is added up before it is exposed.

use zibrato_worker::{Kind, Series};

/// The longest name of a metric or a label in bytes; Mimir and Grafana Cloud take no longer ones by default.
const MOST_NAME: usize = 1024;
/// The longest value of a label in bytes; the same.
const MOST_VALUE: usize = 2048;
/// Labels that mean something to Prometheus in histograms and summaries, or after a scrape.
const RESERVED: [&str; 2] = ["le", "quantile"];

/// Changes a series to what is stored; the source becomes the label `source_label`.
///
/// # Errors
/// When its name is empty.
pub(crate) fn clean(series: &mut Series, source_label: &str) -> Result<(), String> {
    if series.name.is_empty() {
        return Err("its name is empty".into());
    }
    series.name = metric_name(&series.name, series.kind);
    series.source = label_value(&series.source);
    series.tags = labels(&series.tags, source_label);
    Ok(())
}

/// The name of a metric with the ending of its kind.
fn metric_name(name: &str, kind: Kind) -> String {
    let ending = match kind {
        Kind::Counter => "_total",
        Kind::Timer => "_seconds",
        _ => "",
    };
    let name = identifier(name);
    if ending.is_empty() {
        return fit(&name, MOST_NAME - ROOM);
    }
    let stem = name.strip_suffix(ending).unwrap_or(&name).trim_end_matches('_');
    let stem = if stem.is_empty() { "_" } else { stem };
    fit(stem, MOST_NAME - ending.len() - ROOM) + ending
}

/// What endings of samples (`_created`) and of clashing names (`_distribution_2`) may need.
const ROOM: usize = 64;

/// The labels of tags, sorted by name. The values of tags that become the same label are joined with `;`, as
/// OpenTelemetry does it.
fn labels(tags: &[(String, String)], source_label: &str) -> Vec<(String, String)> {
    let mut labels: Vec<(String, String)> = Vec::with_capacity(tags.len());
    // An empty value is the same as no label.
    for (name, value) in tags.iter().filter(|(_, value)| !value.is_empty()) {
        let mut name = fit(&identifier(name), MOST_NAME);
        if name == source_label || RESERVED.contains(&&*name) {
            name = format!("tag_{name}");
        }
        match labels.iter_mut().find(|(taken, _)| *taken == name) {
            Some((_, joined)) => *joined = format!("{joined};{value}"),
            None => labels.push((name, value.clone())),
        }
    }
    labels.iter_mut().for_each(|(_, value)| *value = label_value(value));
    labels.sort();
    labels
}

/// The value of a label: any text, but without control characters, of which some parsers take one for the end.
fn label_value(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    fit(&clean, MOST_VALUE)
}

/// A text as the name of a metric or a label.
fn identifier(text: &str) -> String {
    let mut name = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        let c = if c.is_ascii_alphanumeric() { c } else { '_' };
        if c.is_ascii_digit() && name.is_empty() {
            name.push('_');
        }
        if c != '_' || !name.ends_with('_') {
            name.push(c);
        }
    }
    if name.is_empty() { "_".into() } else { name }
}

/// Whether a text can be the name of a label; for `--source-label`.
///
/// # Errors
/// Why not.
pub(crate) fn label_option(text: &str) -> Result<String, String> {
    if text.is_empty() || identifier(text) != text || text.starts_with('_') {
        return Err("it must be of a-z, A-Z, 0-9 and single _, beginning with a letter".into());
    }
    if RESERVED.contains(&text) {
        return Err(format!("{text:?} is reserved for histograms and summaries"));
    }
    Ok(text.to_owned())
}

/// Shortens a text; different texts stay different.
fn fit(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let hash = format!("_{:016x}", fnv_1a(text.as_bytes()));
    let mut end = most - hash.len();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned() + &hash
}

/// A hash that is the same on every machine and in every version, because it becomes part of stored names.
fn fnv_1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Prometheus' word for a unit in UCUM notation, as OpenTelemetry translates them; `None` for what has no word, and
/// for numbers of things (`{request}`, `1`).
pub(crate) fn unit_word(ucum: &str) -> Option<String> {
    let word = |unit: &str| -> Option<&'static str> {
        Some(match unit {
            "d" => "days",
            "h" => "hours",
            "min" => "minutes",
            "s" => "seconds",
            "ms" => "milliseconds",
            "us" => "microseconds",
            "ns" => "nanoseconds",
            "By" => "bytes",
            "KiBy" => "kibibytes",
            "MiBy" => "mebibytes",
            "GiBy" => "gibibytes",
            "TiBy" => "tebibytes",
            "KBy" | "kBy" => "kilobytes",
            "MBy" => "megabytes",
            "GBy" => "gigabytes",
            "TBy" => "terabytes",
            "m" => "meters",
            "V" => "volts",
            "A" => "amperes",
            "J" => "joules",
            "W" => "watts",
            "g" => "grams",
            "Cel" => "celsius",
            "Hz" => "hertz",
            "%" => "percent",
            _ => return None,
        })
    };
    word(ucum).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cleaned(name: &str, kind: Kind, tags: &[(&str, &str)]) -> (String, String) {
        let tags = tags.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let mut series = Series { name: name.into(), source: "web1".into(), tags, kind };
        clean(&mut series, "source").unwrap();
        let tags: Vec<String> = series.tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (series.name, tags.join(","))
    }

    #[test]
    fn names_get_the_characters_and_endings_of_prometheus() {
        let name = |name, kind| cleaned(name, kind, &[]).0;
        assert_eq!(name("app::calls", Kind::Counter), "app_calls_total");
        assert_eq!(name("app_calls_total", Kind::Counter), "app_calls_total");
        assert_eq!(name("app.time", Kind::Timer), "app_time_seconds");
        assert_eq!(name("app.time_seconds", Kind::Timer), "app_time_seconds");
        assert_eq!(name("queue-depth", Kind::Gauge), "queue_depth");
        assert_eq!(name("2xx", Kind::Updown), "_2xx");
        assert_eq!(name("größe", Kind::Distribution), "gr_e");
        assert_eq!(name("_total", Kind::Counter), "__total");
        assert_eq!(name("calls.", Kind::Counter), "calls_total");
        assert_eq!(name("…", Kind::Point), "_");
    }

    #[test]
    fn tags_become_labels_that_mean_nothing_else() {
        let labels = |tags| cleaned("n", Kind::Gauge, tags).1;
        assert_eq!(labels(&[("http.code", "200"), ("a-b", "x"), ("a.b", "y")]), "a_b=x;y,http_code=200");
        assert_eq!(
            labels(&[("le", "1"), ("quantile", "2"), ("source", "3"), ("__name__", "4")]),
            "_name_=4,tag_le=1,tag_quantile=2,tag_source=3"
        );
        assert_eq!(labels(&[("empty", ""), ("line", "a\0b\nc")]), "line=a\u{fffd}b\u{fffd}c");
    }

    #[test]
    fn what_is_cut_stays_distinct() {
        let long = |end: &str| "ä".repeat(3000) + end;
        let (a, b) = (label_value(&long("1")), label_value(&long("2")));
        assert!(a != b && a.len() <= MOST_VALUE && b.len() <= MOST_VALUE);
        let long = |end: &str| metric_name(&("a".repeat(3000) + end), Kind::Counter);
        assert!(long("1") != long("2") && long("1").ends_with("_total") && long("1").len() < MOST_NAME);
    }

    #[test]
    fn labels_of_the_source_are_checked() {
        assert_eq!(label_option("host").as_deref(), Ok("host"));
        for bad in ["", "a b", "__x", "_x", "9", "le", "ä"] {
            assert!(label_option(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_series_becomes_one_that_prometheus_takes(
            name in "\\PC{1,300}", tags in prop::collection::vec((any::<String>(), any::<String>()), 0..6),
        ) {
            let is_name = |name: &str| {
                let mut chars = name.chars();
                chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
                    && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
            };
            for kind in [Kind::Counter, Kind::Timer, Kind::Gauge] {
                let mut series = Series { name: name.clone(), source: "s".into(), tags: tags.clone(), kind };
                clean(&mut series, "source").unwrap();
                prop_assert!(is_name(&series.name));
                prop_assert!(series.tags.is_sorted());
                for (i, (label, value)) in series.tags.iter().enumerate() {
                    prop_assert!(is_name(label) && !label.starts_with("__") && label != "source", "{label}");
                    prop_assert!(!value.is_empty() && !value.contains(char::is_control));
                    prop_assert!(series.tags[..i].iter().all(|(other, _)| other != label));
                }
                let once = series.clone();
                clean(&mut series, "source").unwrap();
                prop_assert_eq!(series, once);
            }
        }
    }
}
