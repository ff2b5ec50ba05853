//! Selectors, renames and tags of any text are read without a panic, and change measurements of any names in bounded time.
//!
//! The input is lines: a selector, a rename, an added tag, a name, and tags of the series as name and value.
#![no_main]
#![allow(dead_code, missing_docs)]

#[path = "../../zibrato-worker/src/batch.rs"]
mod batch;
#[path = "../../zibrato-worker/src/shape.rs"]
mod shape;

use batch::Series;
use libfuzzer_sys::fuzz_target;
use shape::{AddedTag, Rename, Selector, Shape};
use zibrato_core::frame::{InstanceId, Kind};

fuzz_target!(|text: &str| {
    if text.len() > 4096 {
        return;
    }
    let mut lines = text.lines();
    let mut next = || lines.next().unwrap_or_default();
    let (selector, rename, tag, name) = (next(), next(), next(), next());
    let keep: Vec<Selector> = selector.split(';').filter_map(|text| text.parse().ok()).collect();
    let rename: Vec<Rename> = rename.split(';').filter_map(|text| text.parse().ok()).collect();
    let tags: Vec<AddedTag> = tag.split(';').filter_map(|text| text.parse().ok()).collect();
    let pairs = std::iter::from_fn(|| Some((lines.next()?.to_owned(), lines.next()?.to_owned()))).take(16);
    let mut series =
        Series { name: name.into(), source: "web1".into(), tags: pairs.collect(), kind: Kind::Counter };
    let before = series.clone();
    for one in &keep {
        one.matches(&series);
    }
    let shape = Shape { drop: Vec::new(), keep, rename, tags, instance_tag: Some("instance".into()) };
    if shape.apply(&mut series, Some(InstanceId([7; 16]))) {
        assert_eq!((&series.source, series.kind), (&before.source, before.kind));
        assert!(before.tags.iter().all(|tag| series.tags.contains(tag)));
    }
});
