//! `docs/wire-vectors.json`, which clients in other languages test themselves with, is what this crate does.
//!
//! `ZIBRATO_BLESS=1 cargo test -p zibrato-core --test vectors` writes the file anew.

#![allow(clippy::unwrap_used, reason = "a test; helpers outside #[test] functions are not told apart")]

mod asks;
mod frames;
mod meaning;

use std::path::PathBuf;

use serde::Serialize;
use zibrato_core::frame::InstanceId;
use zibrato_core::histogram::{self, Buckets, Histogram, Place};
use zibrato_core::limits;

use crate::frames::histogram_of;
use crate::meaning::{NameVector, PlaceVector, QuantileVector};

/// 2026-01-02 03:04:05 UTC. All times are multiples of 256 ns, so that a JSON reader that has only floating
/// point numbers reads them right.
const START: u64 = 1_767_323_045_000_000_000;
const SECOND: u64 = 1_000_000_000;
const ID: InstanceId = InstanceId(*b"0123456789abcdef");
const BOOT: [u8; 16] = [0xb0; 16];

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// To nine digits, because the last ones of `exp2` differ between platforms.
fn rounded(value: f64) -> f64 {
    format!("{value:.8e}").parse().unwrap()
}

fn places() -> Vec<PlaceVector> {
    let values = [
        0.0,
        1.0,
        2.0,
        3.0,
        10.0,
        1000.0,
        1e6,
        2.5e9,
        1e18,
        1.5e19,
        0.5,
        0.001,
        1e-9,
        -5.0,
        (-64f64).exp2(),
        (-65f64).exp2(),
        1e300,
        -1e300,
    ];
    let vectors = values.map(|value| {
        let (side, index) = match histogram::place_of(value).unwrap() {
            Place::Zero => ("zero", None),
            Place::Positive(i) => ("positive", Some(i)),
            Place::Negative(i) => ("negative", Some(i)),
        };
        if (1.0..1.8e19).contains(&value) && value.fract() == 0.0 {
            assert_eq!(index, Some(histogram::index_of_whole(value as u64)), "{value}");
        }
        let edge = |i: i32| rounded(histogram::lower_edge(i));
        PlaceVector { value, side, index, lower: index.map(edge), upper: index.map(|i| edge(i + 1)) }
    });
    vectors.into()
}

fn quantiles() -> Vec<QuantileVector> {
    let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
    let lists = [vec![7.0], vec![0.0, 0.0, 5.0], vec![-3.0, -1.0, 0.0, 1.0, 3.0], hundred];
    let vectors = lists.map(|values| {
        let histogram = histogram_of(&values);
        let again = Histogram {
            zero: histogram.zero,
            positive: Buckets::from_pairs(histogram.positive.pairs().iter().copied()),
            negative: Buckets::from_pairs(histogram.negative.pairs().iter().copied()),
        };
        assert_eq!(histogram, again);
        let quantile = |q| (q, rounded(histogram.quantile(q).unwrap()));
        QuantileVector {
            zero: histogram.zero,
            positive: histogram.positive.pairs().to_vec(),
            negative: histogram.negative.pairs().to_vec(),
            quantiles: [0.0, 0.5, 0.9, 0.99, 1.0].map(quantile).into(),
            values,
        }
    });
    vectors.into()
}

fn names() -> Vec<NameVector> {
    let texts = [
        "info",
        "",
        "beat",
        "zibrato",
        "two words",
        "a|b",
        "a,b",
        "größe",
        "tab\there",
        "nul\0",
        "x.y-z_1/é",
    ];
    let long = ["l".repeat(32), "l".repeat(33), "n".repeat(255), "n".repeat(256), "é".repeat(127) + "xx"];
    let vectors = texts.into_iter().map(String::from).chain(long).map(|text| NameVector {
        as_name: limits::check_name(&text).is_ok(),
        as_level: limits::check_level(&text).is_ok(),
        text,
    });
    vectors.collect()
}

fn section<T: Serialize>(name: &str, vectors: &[T]) -> String {
    let lines: Vec<String> =
        vectors.iter().map(|v| format!("    {}", serde_json::to_string(v).unwrap())).collect();
    format!("  {name:?}: [\n{}\n  ]", lines.join(",\n"))
}

#[test]
fn the_file_says_what_the_code_does() {
    let sections = [
        r#"  "about": "Test vectors of docs/wire.md, written by zibrato-core/tests/vectors/; hex is bytes.""#
            .to_string(),
        section("frames", &frames::frames()),
        section("refused_frames", &frames::refused_frames()),
        section("asks", &asks::asks()),
        section("refused_asks", &asks::refused_asks()),
        section("beats", &asks::beats()),
        section("places", &places()),
        section("quantiles", &quantiles()),
        section("names", &names()),
    ];
    let text = format!("{{\n{}\n}}\n", sections.join(",\n"));
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/wire-vectors.json");
    if std::env::var_os("ZIBRATO_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let file = std::fs::read_to_string(&path).unwrap().replace("\r\n", "\n");
    for (number, (is, ought)) in file.lines().zip(text.lines()).enumerate() {
        assert_eq!(
            is,
            ought,
            "line {} of docs/wire-vectors.json; ZIBRATO_BLESS=1 writes it anew",
            number + 1
        );
    }
    assert_eq!(file.lines().count(), text.lines().count());
}
