//! A backend that keeps what it accepted.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::backend::{Accepted, Backend, BackendError, Temporality};
use crate::batch::{Batch, Measurement, Series, Value};

/// What a [`Memory`] backend does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Takes the batch.
    Accept,
    /// Takes the batch, but the answer is lost.
    AcceptAndFail,
    /// Fails; with how long to wait, where it says so.
    Fail(Option<Duration>),
    /// Refuses the batch for good.
    Refuse(String),
    /// Takes a part of the batch: as [`Accepted::Partly`], by indices.
    Partly {
        /// Refuses these.
        refused: Vec<usize>,
        /// Wants these again.
        retry: Vec<usize>,
    },
}

#[derive(Debug, Default)]
struct Kept {
    accepted: Vec<Batch>,
    requests: Vec<Batch>,
    connects: usize,
    doubts: Vec<u64>,
    script: VecDeque<Act>,
    connect_fails: usize,
    restored: Option<Batch>,
}

/// A backend that keeps what it accepted and fails as a script says. Clones share everything.
#[derive(Debug, Clone)]
pub struct Memory {
    kept: Arc<Mutex<Kept>>,
    resolution: Duration,
    batch_size: usize,
    temporality: Temporality,
}

impl Default for Memory {
    fn default() -> Self {
        Memory {
            kept: Arc::default(),
            resolution: Duration::from_secs(1),
            batch_size: 300,
            temporality: Temporality::Delta,
        }
    }
}

impl Memory {
    /// A backend that accepts everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with this smallest step between two times; 1 s without.
    pub fn with_resolution(self, resolution: Duration) -> Self {
        Memory { resolution, ..self }
    }

    /// The same with at most this many measurements in a batch; 300 without.
    pub fn with_batch_size(self, batch_size: usize) -> Self {
        Memory { batch_size, ..self }
    }

    /// The same that is told totals; what happened in each period without.
    pub fn cumulative(self) -> Self {
        Memory { temporality: Temporality::Cumulative, ..self }
    }

    /// The totals that it was given at its start.
    pub fn restored(&self) -> Option<Batch> {
        self.kept().restored.clone()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it does with the next batches, one each; then it accepts again.
    pub fn will(&self, acts: impl IntoIterator<Item = Act>) {
        self.kept().script.extend(acts);
    }

    /// Forgets the rest of the script, and accepts again.
    pub fn recovers(&self) {
        let mut kept = self.kept();
        kept.script.clear();
        kept.connect_fails = 0;
    }

    /// The next so many connects fail.
    pub fn will_not_connect(&self, times: usize) {
        self.kept().connect_fails = times;
    }

    /// What it accepted, in order; of batches that were accepted partly, that part.
    pub fn accepted(&self) -> Vec<Batch> {
        self.kept().accepted.clone()
    }

    /// What it was sent, repeats and failures included.
    pub fn requests(&self) -> Vec<Batch> {
        self.kept().requests.clone()
    }

    /// How often it was asked to connect.
    pub fn connects(&self) -> usize {
        self.kept().connects
    }

    /// The batches that it was told may have been accepted already.
    pub fn doubts(&self) -> Vec<u64> {
        self.kept().doubts.clone()
    }

    /// The sums of what it accepted, by series: what counters and updown counters changed by, the counts of timers
    /// and distributions, the last values of gauges, the sums of points. A repeat of a batch (by id and series)
    /// counts once.
    pub fn totals(&self) -> BTreeMap<Series, f64> {
        let mut seen = HashSet::new();
        let mut totals = BTreeMap::new();
        for batch in &self.kept().accepted {
            // One batch may have several points of a series, and is repeated as a whole or in parts.
            let mut numbers: BTreeMap<&Series, usize> = BTreeMap::new();
            for Measurement { series, value, .. } in &batch.measurements {
                let number = numbers.entry(series).or_default();
                *number += 1;
                if !seen.insert((batch.id, series.clone(), *number)) {
                    continue;
                }
                let total = totals.entry(series.clone()).or_insert(0.0);
                match value {
                    Value::Counter(change) | Value::Updown(change) => *total += change.value(),
                    Value::Timer(summary) | Value::Distribution(summary) => *total += summary.count() as f64,
                    Value::Gauge(gauge) => *total = gauge.last,
                    Value::Point { value, .. } => *total += value,
                }
            }
        }
        totals
    }

    /// The total of all series of a name.
    pub fn total(&self, name: &str) -> f64 {
        self.totals().iter().filter(|(series, _)| series.name == name).map(|(_, total)| total).sum()
    }
}

impl Backend for Memory {
    const NAME: &'static str = "memory";

    /// Stores names in lower case, and nothing under a name with a blank.
    fn series(&self, series: &mut Series) -> Result<(), String> {
        if series.name.contains(' ') {
            return Err("a name must not have blanks".into());
        }
        series.name = series.name.to_lowercase();
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        self.temporality
    }

    fn restore(&mut self, totals: Batch) {
        self.kept().restored = Some(totals);
    }

    fn resolution(&self) -> Duration {
        self.resolution
    }

    fn batch_size(&self) -> usize {
        self.batch_size
    }

    async fn connect(&mut self) -> Result<(), BackendError> {
        let mut kept = self.kept();
        kept.connects += 1;
        if kept.connect_fails > 0 {
            kept.connect_fails -= 1;
            return Err(BackendError::Retry { why: "as the script says".into(), after: None });
        }
        Ok(())
    }

    fn in_doubt(&mut self, batch: &Batch) {
        self.kept().doubts.push(batch.id);
    }

    fn counts(&self) -> Vec<(&'static str, u64)> {
        vec![("memory_requests", self.kept().requests.len() as u64)]
    }

    async fn send(&mut self, batch: &Batch) -> Result<Accepted, BackendError> {
        let mut kept = self.kept();
        kept.requests.push(batch.clone());
        let failed = |after| Err(BackendError::Retry { why: "as the script says".into(), after });
        match kept.script.pop_front().unwrap_or(Act::Accept) {
            Act::Accept => {
                kept.accepted.push(batch.clone());
                Ok(Accepted::All)
            }
            Act::AcceptAndFail => {
                kept.accepted.push(batch.clone());
                failed(None)
            }
            Act::Fail(after) => failed(after),
            Act::Refuse(why) => Err(BackendError::Refused { why }),
            Act::Partly { refused, retry } => {
                let mut part = batch.clone();
                let taken = |index: &usize| !refused.contains(index) && !retry.contains(index);
                let measurements = batch.measurements.iter().enumerate();
                part.measurements =
                    measurements.filter(|(index, _)| taken(index)).map(|(_, m)| m.clone()).collect();
                kept.accepted.push(part);
                let refused = refused.into_iter().map(|index| (index, "as the script says".into())).collect();
                Ok(Accepted::Partly { refused, retry })
            }
        }
    }

    fn render(&self, batch: &Batch) -> String {
        let mut text = String::new();
        for Measurement { series, value, .. } in &batch.measurements {
            text += &format!("{} {} {} {value:?}\n", batch.time, series.name, series.source);
        }
        text
    }
}
