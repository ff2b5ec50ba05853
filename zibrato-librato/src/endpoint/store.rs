//! What was stored, as Librato stores it: by series and time, the later one overwrites.

use std::collections::{BTreeMap, HashMap};

use super::decimal::Decimal;
use crate::Api;

/// What a measurement is stored under; everything in lower case, because Librato tells no cases apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Series {
    pub(super) api: Api,
    pub(super) name: String,
    pub(super) source: String,
    pub(super) tags: BTreeMap<String, String>,
}

/// The figures of one measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Figures {
    /// `None` for a plain value.
    pub(super) count: Option<u64>,
    pub(super) sum: Decimal,
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
}

impl Figures {
    pub(super) fn value(value: Decimal) -> Figures {
        Figures { count: None, sum: value, min: None, max: None }
    }
}

/// Everything stored for one name and source, over all times and tags.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Totals {
    /// How many measurements are stored: one a series and time.
    pub measurements: u64,
    /// The sum of all plain values: of a counter, what it has counted.
    pub value: Decimal,
    /// The sum of all counts: of a timer, how often it has timed.
    pub count: u64,
    /// The sum of all sums: of a timer, its seconds.
    pub sum: Decimal,
    /// The smallest minimum.
    pub min: Option<f64>,
    /// The largest maximum.
    pub max: Option<f64>,
}

/// One stored measurement, as [`Endpoint::stored`](super::Endpoint::stored) lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// The metric's name, in lower case.
    pub name: String,
    /// The source, or the tag `source`, in lower case; empty where there is none.
    pub source: String,
    /// All tags, in lower case; none from `/v1/metrics`.
    pub tags: BTreeMap<String, String>,
    /// Seconds since 1970.
    pub time: u64,
    /// The count, `None` where a plain value was sent.
    pub count: Option<u64>,
    /// The sum, or the plain value.
    pub sum: Decimal,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    all: HashMap<Series, BTreeMap<u64, Figures>>,
    pub(super) overwritten: u64,
}

impl Store {
    pub(super) fn put(&mut self, series: Series, time: u64, figures: Figures) {
        if self.all.entry(series).or_default().insert(time, figures).is_some() {
            self.overwritten += 1;
        }
    }

    pub(super) fn totals(&self) -> BTreeMap<(String, String), Totals> {
        let mut totals: BTreeMap<(String, String), Totals> = BTreeMap::new();
        for (series, times) in &self.all {
            let total = totals.entry((series.name.clone(), series.source.clone())).or_default();
            for figures in times.values() {
                total.measurements += 1;
                match figures.count {
                    None => total.value = total.value.plus(figures.sum),
                    Some(count) => {
                        total.count += count;
                        total.sum = total.sum.plus(figures.sum);
                    }
                }
                total.min = [total.min, figures.min].into_iter().flatten().reduce(f64::min);
                total.max = [total.max, figures.max].into_iter().flatten().reduce(f64::max);
            }
        }
        totals
    }

    pub(super) fn stored(&self) -> Vec<Stored> {
        let mut all: Vec<Stored> = self
            .all
            .iter()
            .flat_map(|(series, times)| {
                times.iter().map(|(&time, figures)| Stored {
                    name: series.name.clone(),
                    source: series.source.clone(),
                    tags: series.tags.clone(),
                    time,
                    count: figures.count,
                    sum: figures.sum,
                })
            })
            .collect();
        all.sort_by(|a, b| (&a.name, &a.source, &a.tags, a.time).cmp(&(&b.name, &b.source, &b.tags, b.time)));
        all
    }
}
