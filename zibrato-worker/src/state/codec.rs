//! How keys, batches and sets of numbers are written into the database.

use rmp::{decode as de, encode as en};
use serde::{Deserialize, Serialize};
use zibrato_core::frame::{Key, Kind, Tags, Total};
use zibrato_core::histogram::{Buckets, Histogram};
use zibrato_core::ledger::Sequences;

use super::trace::{self, StoredTrace};
use crate::batch::{GaugeSummary, Measurement, Series, Summary, Value};

/// The bytes of a key: an array of kind, born, name, source and all tag names and values.
pub(super) fn encode_key(key: &Key) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    // Writing into a `Vec` cannot fail, so the results are dropped.
    let _ = en::write_array_len(&mut out, 4 + 2 * key.tags.len() as u32);
    let _ = en::write_uint(&mut out, key.kind as u64);
    let _ = en::write_uint(&mut out, key.born);
    let tags = key.tags.iter().flat_map(|(name, value)| [name, value]);
    for text in [&*key.name, &*key.source].into_iter().chain(tags) {
        let _ = en::write_str(&mut out, text);
    }
    out
}

/// The key of bytes that [`encode_key`] wrote.
pub(super) fn decode_key(mut bytes: &[u8]) -> Option<Key> {
    let input = &mut bytes;
    let items = de::read_array_len(input).ok()?;
    let kind = Kind::from_code(de::read_int(input).ok()?)?;
    let born = de::read_int(input).ok()?;
    let (name, source) = (read_text(input)?, read_text(input)?);
    let tags = (0..items.checked_sub(4)? / 2).map(|_| Some((read_text(input)?, read_text(input)?)));
    let tags = tags.collect::<Option<Vec<_>>>()?;
    let tags = if tags.is_empty() { Tags::none() } else { Tags::new(tags) };
    Some(Key { kind, name: name.into(), source: source.into(), tags, born })
}

/// The bytes of a series: an array of kind, name, source and all tag names and values.
pub(super) fn encode_series(series: &Series) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    let _ = en::write_array_len(&mut out, 3 + 2 * series.tags.len() as u32);
    let _ = en::write_uint(&mut out, series.kind as u64);
    let tags = series.tags.iter().flat_map(|(name, value)| [name, value]);
    for text in [&series.name, &series.source].into_iter().chain(tags) {
        let _ = en::write_str(&mut out, text);
    }
    out
}

fn read_text<'a>(input: &mut &'a [u8]) -> Option<&'a str> {
    let length = de::read_str_len(input).ok()?;
    let (text, rest) = input.split_at_checked(length as usize)?;
    *input = rest;
    std::str::from_utf8(text).ok()
}

pub(super) fn encode_numbers(numbers: &Sequences) -> Vec<u8> {
    let mut out = Vec::new();
    let _ = en::write_array_len(&mut out, 2 * numbers.ranges().len() as u32);
    for (first, last) in numbers.ranges() {
        let _ = en::write_uint(&mut out, *first);
        let _ = en::write_uint(&mut out, *last);
    }
    out
}

pub(super) fn decode_numbers(mut bytes: &[u8]) -> Option<Sequences> {
    let input = &mut bytes;
    let items = de::read_array_len(input).ok()?;
    let ranges = (0..items / 2).map(|_| Some((de::read_int(input).ok()?, de::read_int(input).ok()?)));
    Some(Sequences::from_ranges(ranges.collect::<Option<Vec<_>>>()?))
}

#[derive(Serialize, Deserialize)]
struct StoredMeasurement {
    name: String,
    source: String,
    tags: Vec<(String, String)>,
    kind: u8,
    level: String,
    unit: Option<String>,
    value: StoredValue,
    help: Option<String>,
    // Batches of before it was kept lack it.
    #[serde(default)]
    since: u64,
    #[serde(default)]
    trace: Option<StoredTrace>,
}

#[derive(Serialize, Deserialize)]
enum StoredValue {
    Counter(i64, f64),
    Updown(i64, f64),
    Timer(StoredSummary),
    Distribution(StoredSummary),
    Gauge(f64, Option<(u64, f64, f64, f64)>),
    Point(u64, f64),
}

#[derive(Serialize, Deserialize)]
struct StoredSummary {
    sum: (i64, f64),
    min: f64,
    max: f64,
    approximate: bool,
    zero: u64,
    positive: Vec<(i32, u64)>,
    negative: Vec<(i32, u64)>,
}

/// The bytes of a batch's measurements.
pub(super) fn encode_measurements(measurements: &[Measurement]) -> Result<Vec<u8>, String> {
    let stored: Vec<StoredMeasurement> = measurements.iter().map(store).collect();
    rmp_serde::to_vec(&stored).map_err(|why| why.to_string())
}

/// The measurements of bytes that [`encode_measurements`] wrote.
pub(super) fn decode_measurements(bytes: &[u8]) -> Result<Vec<Measurement>, String> {
    let stored: Vec<StoredMeasurement> = rmp_serde::from_slice(bytes).map_err(|why| why.to_string())?;
    stored.into_iter().map(|stored| restore(stored).ok_or_else(|| "unknown kind".to_string())).collect()
}

fn store(measurement: &Measurement) -> StoredMeasurement {
    let Measurement { series, level, unit, help, since, value, trace } = measurement;
    let value = match value {
        Value::Counter(total) => StoredValue::Counter(total.whole, total.float),
        Value::Updown(total) => StoredValue::Updown(total.whole, total.float),
        Value::Timer(summary) => StoredValue::Timer(summary.into()),
        Value::Distribution(summary) => StoredValue::Distribution(summary.into()),
        Value::Gauge(gauge) => StoredValue::Gauge(gauge.last, gauge.statistics),
        Value::Point { time, value } => StoredValue::Point(*time, *value),
    };
    StoredMeasurement {
        name: series.name.clone(),
        source: series.source.clone(),
        tags: series.tags.clone(),
        kind: series.kind as u8,
        level: level.clone(),
        unit: unit.clone(),
        value,
        help: help.clone(),
        since: *since,
        trace: trace::store(trace),
    }
}

fn restore(stored: StoredMeasurement) -> Option<Measurement> {
    let StoredMeasurement { name, source, tags, kind, level, unit, value, help, since, trace } = stored;
    let kind = Kind::from_code(u64::from(kind))?;
    let value = match value {
        StoredValue::Counter(whole, float) => Value::Counter(Total { whole, float }),
        StoredValue::Updown(whole, float) => Value::Updown(Total { whole, float }),
        StoredValue::Timer(summary) => Value::Timer(summary.into()),
        StoredValue::Distribution(summary) => Value::Distribution(summary.into()),
        StoredValue::Gauge(last, statistics) => Value::Gauge(GaugeSummary { last, statistics }),
        StoredValue::Point(time, value) => Value::Point { time, value },
    };
    let (series, trace) = (Series { name, source, tags, kind }, trace::restore(trace)?);
    Some(Measurement { series, level, unit, help, since, value, trace })
}

impl From<&Summary> for StoredSummary {
    fn from(summary: &Summary) -> Self {
        StoredSummary {
            sum: (summary.sum.whole, summary.sum.float),
            min: summary.min,
            max: summary.max,
            approximate: summary.approximate,
            zero: summary.histogram.zero,
            positive: summary.histogram.positive.pairs().to_vec(),
            negative: summary.histogram.negative.pairs().to_vec(),
        }
    }
}

impl From<StoredSummary> for Summary {
    fn from(stored: StoredSummary) -> Self {
        let StoredSummary { sum, min, max, approximate, zero, positive, negative } = stored;
        let (positive, negative) = (Buckets::from_pairs(positive), Buckets::from_pairs(negative));
        let histogram = Histogram { zero, positive, negative };
        Summary { sum: Total { whole: sum.0, float: sum.1 }, min, max, approximate, histogram }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_numbers_come_back() {
        for tags in [Tags::none(), Tags::new([("method", "GET"), ("path", "/x")])] {
            let key = Key {
                kind: Kind::Timer,
                name: "n\u{e4}me".into(),
                source: "here".into(),
                tags,
                born: u64::MAX,
            };
            let bytes = encode_key(&key);
            assert_eq!(decode_key(&bytes), Some(key));
            (0..bytes.len()).for_each(|n| assert_eq!(decode_key(&bytes[..n]), None));
        }
        let numbers = Sequences::from_ranges([(1, 5), (7, 7), (9, u64::MAX)]);
        assert_eq!(decode_numbers(&encode_numbers(&numbers)), Some(numbers));
    }

    #[test]
    fn batches_of_before_there_were_totals_and_traces_are_read() {
        let value = StoredValue::Counter(3, 0.5);
        let tags = vec![("b".to_string(), "c".to_string())];
        let old = [("a", "here", tags, Kind::Counter as u8, "info", None::<String>, value, Some("help"))];
        let read = decode_measurements(&rmp_serde::to_vec(&old).unwrap()).unwrap();
        let Measurement { series, help, since, value, trace, .. } = &read[0];
        assert_eq!((&*series.name, help.as_deref(), *since), ("a", Some("help"), 0));
        assert_eq!(*value, Value::Counter(Total { whole: 3, float: 0.5 }));
        assert_eq!(*trace, zibrato_core::trace::Trace::None);
    }

    #[test]
    fn measurements_come_back_to_the_last_bit() {
        let mut histogram = Histogram::default();
        [0.0, -1.5, 1e300, 0.1].iter().for_each(|v| assert!(histogram.record(*v)));
        let summary = Summary {
            sum: Total { whole: i64::MIN, float: 0.1 },
            min: -1.5,
            max: 1e300,
            approximate: true,
            histogram,
        };
        let values = [
            Value::Counter(Total { whole: i64::MAX, float: 0.1 + 0.2 }),
            Value::Updown(Total::whole(-3)),
            Value::Timer(summary.clone()),
            Value::Distribution(summary),
            Value::Gauge(GaugeSummary { last: f64::MIN_POSITIVE, statistics: Some((3, 0.3, -1.0, 1.0)) }),
            Value::Gauge(GaugeSummary { last: -0.0, statistics: None }),
            Value::Point { time: u64::MAX, value: 1.0 / 3.0 },
        ];
        let measurement = |value: Value| Measurement {
            series: Series {
                name: "a".into(),
                source: String::new(),
                tags: vec![("b".into(), "c".into())],
                kind: Kind::Gauge,
            },
            level: "info".into(),
            unit: Some("s".into()),
            help: Some("how long it took".into()),
            since: 7,
            value,
            trace: zibrato_core::trace::Trace::None,
        };
        let all: Vec<Measurement> = values.into_iter().map(measurement).collect();
        let bytes = encode_measurements(&all).unwrap();
        assert_eq!(decode_measurements(&bytes), Ok(all));
        assert!(decode_measurements(&bytes[1..]).is_err());
    }
}
