//! What workers have settled, read from their state directories.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::Connection;
use zibrato_core::frame::{Kind, State, decode_state};
use zibrato_core::histogram::Histogram;

use crate::work::Figure;

/// Source, level, name, tag and figure.
pub type Key = (String, String, String, Option<(String, String)>, Figure);

/// Source, level, name and tag.
pub type Spread = (String, String, String, Option<(String, String)>);

/// What has been settled of metrics whose names begin with `chaos.`, over all instances.
#[derive(Debug, Clone, Default)]
pub struct Settled {
    /// Totals; durations in seconds.
    pub totals: BTreeMap<Key, f64>,
    /// Values by bucket; durations in nanoseconds.
    pub spreads: BTreeMap<Spread, Histogram>,
}

/// Adds what a worker has settled.
///
/// # Errors
/// When the database cannot be read.
pub fn add_settled(to: &mut Settled, directory: &Path) -> Result<(), String> {
    let path = directory.join("state.db");
    let failed = |why: rusqlite::Error| format!("{}: {why}", path.display());
    let db = Connection::open(&path).map_err(failed)?;
    let mut read = db
        .prepare("SELECT level, key, state FROM settled JOIN origin ON origin.id = settled.origin")
        .map_err(failed)?;
    let rows = read
        .query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, Vec<u8>>(2)?))
        })
        .map_err(failed)?;
    for row in rows {
        let (level, key, state) = row.map_err(failed)?;
        let bad = || format!("{}: a key cannot be read", path.display());
        let (kind, texts) = key_of(&key).ok_or_else(bad)?;
        let [name, source, tag @ ..] = &texts[..] else { return Err(bad()) };
        if !name.starts_with("chaos.") {
            continue;
        }
        let tag = if let [name, value, ..] = tag { Some((name.clone(), value.clone())) } else { None };
        let state = decode_state(kind, &state).map_err(|why| format!("{}: {why:?}", path.display()))?;
        let mut add = |figure, value: f64| {
            let key = (source.clone(), level.clone(), name.clone(), tag.clone(), figure);
            *to.totals.entry(key).or_default() += value;
        };
        match state {
            State::Total(total) => add(Figure::Value, total.value()),
            State::Spread(spread) => {
                add(Figure::Count, spread.histogram.count() as f64);
                let unit = if kind == Kind::Timer { 1e9 } else { 1.0 };
                add(Figure::Sum, spread.sum.value() / unit);
                to.spreads
                    .entry((source.clone(), level, name.clone(), tag))
                    .or_default()
                    .merge(&spread.histogram);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Kind, and name, source and tags, of a key as the worker writes it.
fn key_of(mut bytes: &[u8]) -> Option<(Kind, Vec<String>)> {
    use rmp::decode::{read_array_len, read_int, read_str_len};
    let input = &mut bytes;
    let items = read_array_len(input).ok()?;
    let kind = Kind::from_code(read_int(input).ok()?)?;
    let _born: u64 = read_int(input).ok()?;
    let texts = (0..items.checked_sub(2)?).map(|_| {
        let length = read_str_len(input).ok()?;
        let (text, rest) = input.split_at_checked(length as usize)?;
        *input = rest;
        std::str::from_utf8(text).ok().map(String::from)
    });
    Some((kind, texts.collect::<Option<_>>()?))
}
