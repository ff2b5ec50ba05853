//! What is exposed, as batches come in and series go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zibrato_worker::{Batch, GaugeSummary, Kind, Measurement, Value};

use crate::exposition::{Exposed, Family, Head, Labels};
use crate::family::{FamilyKey, Names};

/// The gauge that says how old everything is.
const LAST_BATCH: &str = "zibrato_last_batch_timestamp_seconds";

/// The newest value of every series that is not stale.
#[derive(Debug)]
pub(super) struct Store {
    source_label: String,
    stale: Duration,
    names: Names,
    families: BTreeMap<FamilyKey, BTreeMap<Place, Held>>,
    /// Of the newest batch, in nanoseconds since 1970 UTC; 0 before there is one.
    time: u64,
}

/// Source and tags.
type Place = (String, Vec<(String, String)>);

#[derive(Debug)]
struct Held {
    exposed: Exposed,
    help: Option<String>,
    unit: Option<String>,
    seen: Instant,
}

impl Store {
    pub(super) fn new(source_label: &str, stale: Duration) -> Store {
        Store {
            source_label: source_label.into(),
            stale,
            names: Names::default(),
            families: BTreeMap::new(),
            time: 0,
        }
    }

    /// Takes a batch that came at this time.
    pub(super) fn take(&mut self, batch: &Batch, now: Instant) {
        // After a restart, batches come that are older than the totals that were restored.
        let late = batch.time < self.time;
        self.time = self.time.max(batch.time);
        for measurement in &batch.measurements {
            self.take_one(measurement, late, now);
        }
    }

    fn take_one(&mut self, measurement: &Measurement, late: bool, now: Instant) {
        let series = &measurement.series;
        let key = FamilyKey { name: series.name.clone(), kind: series.kind };
        let places = self.families.entry(key).or_default();
        let place = (series.source.clone(), series.tags.clone());
        let value = Arc::new(measurement.value.clone());
        if let Some(held) = places.get_mut(&place) {
            held.seen = now;
            // Of points the one with the latest time stays, and a total must never fall.
            let older = match (&*held.exposed.value, &*value) {
                (Value::Point { time: old, .. }, Value::Point { time: new, .. }) => old > new,
                _ => late,
            };
            if older {
                return;
            }
            held.exposed.value = value;
            held.exposed.since = measurement.since;
            held.help = measurement.help.clone().or(held.help.take());
            held.unit = measurement.unit.clone().or(held.unit.take());
            return;
        }
        let labels = Arc::new(Labels::new(measurement, &self.source_label));
        let exposed = Exposed { labels, since: measurement.since, value };
        let (help, unit) = (measurement.help.clone(), measurement.unit.clone());
        places.insert(place, Held { exposed, help, unit, seen: now });
    }

    /// Forgets what is stale; tells when the next series will be.
    pub(super) fn prune(&mut self, now: Instant) -> Option<Instant> {
        let stale = self.stale;
        self.families.retain(|_, places| {
            places.retain(|_, held| now.duration_since(held.seen) < stale);
            !places.is_empty()
        });
        let seen = self.families.values().flat_map(BTreeMap::values).map(|held| held.seen);
        seen.min().and_then(|seen| seen.checked_add(stale))
    }

    /// Everything, by families.
    pub(super) fn families(&mut self) -> Vec<Family> {
        self.names.give(self.families.keys());
        let own = FamilyKey { name: LAST_BATCH.into(), kind: Kind::Gauge };
        let mut families: Vec<Family> = self
            .families
            .iter()
            .filter_map(|(key, places)| {
                let name = self.names.get(key)?;
                let help = places.values().find_map(|held| held.help.as_deref());
                let unit = places.values().find_map(|held| held.unit.as_deref());
                let series = places.values().map(|held| held.exposed.clone()).collect();
                Some(Family { head: Head::new(name, key, help, unit), series })
            })
            .collect();
        if self.time > 0 && !families.iter().any(|family| family.head.name == LAST_BATCH) {
            let help = "When the newest of these measurements were taken.";
            let head = Head::new(LAST_BATCH, &own, Some(help), Some("s"));
            let last = self.time as f64 / 1e9;
            let value = Arc::new(Value::Gauge(GaugeSummary { last, statistics: None }));
            let labels = Arc::new(Labels::default());
            families.push(Family { head, series: vec![Exposed { labels, since: 0, value }] });
        }
        families
    }
}
