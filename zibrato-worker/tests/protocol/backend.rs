//! Backends: they refuse, are slow, accept a part, accept and lose the answer, and know repeats in three ways.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use zibrato_core::histogram::Histogram;
use zibrato_worker::{Accepted, Backend, BackendError, Batch, Measurement, Series, Summary, Value};

use crate::app::{Amount, VALUES, plus};
use crate::plan::{Act, Repeats};

/// The time resolution, in seconds.
pub(crate) const RESOLUTION: u64 = 2;

/// A batch: by whom and which.
type BatchId = (usize, u64);

#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// What was accepted, by series and time, or by series and batch.
    cells: BTreeMap<(Series, u64), (BatchId, Amount)>,
    /// What was refused for good.
    dead: BTreeMap<(Series, BatchId), Amount>,
    /// Last values of gauges and their batch times.
    pub(crate) gauges: BTreeMap<Series, (u64, f64)>,
    /// All batches as they came first.
    batches: HashMap<BatchId, Batch>,
    /// The newest batch of each series.
    newest: BTreeMap<Series, BatchId>,
    /// Batches whose acceptance a worker has been told, and has lived to hear it.
    pub(crate) done: BTreeSet<BatchId>,
    /// What must not happen.
    pub(crate) wrong: Vec<String>,
    /// Accepted late: at which tick.
    slow: Vec<(u64, usize, Batch)>,
    pub(crate) now: u64,
    /// How many measurements came again.
    pub(crate) repeats: u64,
}

/// What the next request meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Act(Act),
    /// The worker is killed after its batch was marked and before the backend has it.
    KillBefore,
    /// The worker is killed after the backend has taken it and before it hears so.
    KillAfter,
}

/// The connection of one worker to the backend of its group.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) stored: Arc<Mutex<Stored>>,
    pub(crate) next: Arc<Mutex<Next>>,
    pub(crate) killed: Arc<Notify>,
    writer: usize,
    repeats: Repeats,
    batch_size: usize,
}

impl Connection {
    pub(crate) fn new(
        stored: Arc<Mutex<Stored>>,
        writer: usize,
        repeats: Repeats,
        batch_size: usize,
    ) -> Connection {
        let next = Arc::new(Mutex::new(Next::Act(Act::Accept)));
        Connection { stored, next, killed: Arc::default(), writer, repeats, batch_size }
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock().unwrap()
    }

    /// Takes what was accepted late.
    pub(crate) fn tick(&self, now: u64) {
        let mut stored = self.stored();
        stored.now = now;
        let all = std::mem::take(&mut stored.slow);
        for (at, writer, batch) in all {
            if at <= now {
                stored.put(writer, self.repeats, &batch, |_| true);
            } else {
                stored.slow.push((at, writer, batch));
            }
        }
    }
}

fn amount(value: &Value, wrong: &mut Vec<String>) -> Option<Amount> {
    match value {
        Value::Counter(total) => {
            if total.value() < 0.0 {
                wrong.push(format!("a counter fell by {total}"));
            }
            Some(vec![(2.0 * total.value()) as i64])
        }
        Value::Updown(total) => Some(vec![(2.0 * total.value()) as i64]),
        Value::Timer(summary) => {
            let mut amount = vec![summary.sum.whole];
            for value in VALUES {
                let mut one = Histogram::default();
                assert!(one.record(value));
                let index = one.positive.pairs()[0].0;
                let pairs = summary.histogram.positive.pairs();
                amount.push(pairs.iter().find(|(i, _)| *i == index).map_or(0, |(_, n)| *n as i64));
            }
            if let Some(why) = extremes(summary, &amount) {
                wrong.push(why);
            }
            Some(amount)
        }
        _ => None,
    }
}

/// Why the extremes of a summary are not those of its values.
fn extremes(summary: &Summary, amount: &Amount) -> Option<String> {
    let values: Vec<f64> =
        VALUES.into_iter().zip(&amount[1..]).filter(|(_, n)| **n > 0).map(|(v, _)| v).collect();
    let (Some(min), Some(max)) = (values.first(), values.last()) else {
        return Some("a summary without values".into());
    };
    let near = |a: f64, b: f64| (a - b).abs() <= if summary.approximate { 0.012 * b } else { 0.0 };
    let right = near(summary.min, *min) && near(summary.max, *max);
    (!right).then(|| {
        let approximate = if summary.approximate { " approximately" } else { "" };
        format!("extremes{approximate} {} and {} of values {values:?}", summary.min, summary.max)
    })
}

impl Stored {
    fn put(&mut self, writer: usize, repeats: Repeats, batch: &Batch, taken: impl Fn(usize) -> bool) {
        let id = (writer, batch.id);
        for (_, Measurement { series, value, .. }) in
            batch.measurements.iter().enumerate().filter(|(i, _)| taken(*i))
        {
            if let Value::Gauge(gauge) = value {
                let newest = self.gauges.entry(series.clone()).or_insert((0, 0.0));
                if batch.time >= newest.0 {
                    *newest = (batch.time, gauge.last);
                }
            }
            let mut wrong = Vec::new();
            let Some(amount) = amount(value, &mut wrong) else { continue };
            self.wrong.extend(wrong.into_iter().map(|why| format!("{}: {why}", series.name)));
            let place = if repeats == Repeats::ByTime { batch.time } else { batch.id };
            match self.cells.insert((series.clone(), place), (id, amount)) {
                Some((other, _)) if other != id => {
                    let (name, time) = (&series.name, batch.time);
                    self.wrong.push(format!("{name} at {time} of batch {other:?} and of {id:?}"));
                }
                Some(_) => self.repeats += 1,
                None => {}
            }
        }
    }

    /// Checks what every request must be like; whether it is the first with this batch.
    fn check(&mut self, writer: usize, batch: &Batch) -> bool {
        let id = (writer, batch.id);
        let is_new = !self.batches.contains_key(&id);
        if self.done.contains(&id) {
            self.wrong.push(format!("batch {id:?} came again after it was accepted"));
        }
        let first = self.batches.entry(id).or_insert_with(|| batch.clone());
        let same = (first.time, first.from) == (batch.time, batch.from)
            && batch.measurements.iter().all(|m| first.measurements.contains(m));
        if !same {
            self.wrong.push(format!("batch {id:?} is not what it was"));
        }
        for measurement in &batch.measurements {
            let newest = self.newest.entry(measurement.series.clone()).or_insert(id);
            if newest.0 != writer {
                self.wrong.push(format!("{} has two writers", measurement.series.name));
            }
            if newest.1 < batch.id {
                let before = self.batches[newest].time;
                if batch.time < before + RESOLUTION * 1_000_000_000 {
                    self.wrong.push(format!("batch {id:?} is not later than {newest:?}"));
                }
                *newest = id;
            }
            if measurement.series.kind == zibrato_worker::Kind::Counter
                && !matches!(measurement.value, Value::Counter(_))
            {
                self.wrong.push(format!("{} has another kind of value", measurement.series.name));
            }
        }
        is_new
    }

    /// What is accounted for of each series: accepted, or with the dead letters.
    pub(crate) fn totals(&self) -> BTreeMap<Series, Amount> {
        let mut totals: BTreeMap<Series, Amount> = BTreeMap::new();
        let accepted = self.cells.iter().map(|((series, _), (_, amount))| (series, amount));
        let dead = self.dead.iter().map(|((series, _), amount)| (series, amount));
        for (series, amount) in accepted.chain(dead) {
            let total = totals.entry(series.clone()).or_insert_with(|| vec![0; amount.len()]);
            *total = plus(total, amount);
        }
        totals
    }

    fn bury(&mut self, writer: usize, batch: &Batch, which: impl Fn(usize) -> bool) {
        for (_, m) in batch.measurements.iter().enumerate().filter(|(i, _)| which(*i)) {
            if let Some(amount) = amount(&m.value, &mut Vec::new()) {
                self.dead.insert((m.series.clone(), (writer, batch.id)), amount);
            }
        }
    }
}

impl Backend for Connection {
    const NAME: &'static str = "simulated";

    fn resolution(&self) -> Duration {
        Duration::from_secs(RESOLUTION)
    }

    fn batch_size(&self) -> usize {
        self.batch_size
    }

    async fn send(&mut self, batch: &Batch) -> Result<Accepted, BackendError> {
        let next = std::mem::replace(&mut *self.next.lock().unwrap(), Next::Act(Act::Accept));
        let failed = || Err(BackendError::Retry { why: "simulated".into(), after: None });
        let last = batch.measurements.len() - 1;
        let (writer, repeats) = (self.writer, self.repeats);
        let wait = {
            let mut stored = self.stored();
            let is_new = stored.check(writer, batch);
            match next {
                Next::KillBefore => true,
                Next::KillAfter => {
                    stored.put(writer, repeats, batch, |_| true);
                    true
                }
                Next::Act(act) => {
                    return match act {
                        // Who has accepted something does not refuse it later.
                        Act::RefuseOne | Act::RefuseAll if !is_new => {
                            stored.put(writer, repeats, batch, |_| true);
                            Ok(Accepted::All)
                        }
                        Act::Accept => {
                            stored.put(writer, repeats, batch, |_| true);
                            Ok(Accepted::All)
                        }
                        Act::Fail => failed(),
                        Act::LoseAnswer => {
                            stored.put(writer, repeats, batch, |_| true);
                            failed()
                        }
                        Act::PartThenFail => {
                            stored.put(writer, repeats, batch, |i| i % 2 == 0);
                            failed()
                        }
                        Act::Part => {
                            stored.put(writer, repeats, batch, |i| i % 2 == 0);
                            let retry = (0..=last).filter(|i| i % 2 == 1).collect();
                            Ok(Accepted::Partly { refused: Vec::new(), retry })
                        }
                        Act::Slow => {
                            let at = stored.now + 4;
                            stored.slow.push((at, writer, batch.clone()));
                            failed()
                        }
                        Act::RefuseOne => {
                            stored.put(writer, repeats, batch, |i| i != last);
                            stored.bury(writer, batch, |i| i == last);
                            Ok(Accepted::Partly {
                                refused: vec![(last, "simulated".into())],
                                retry: Vec::new(),
                            })
                        }
                        Act::RefuseAll => {
                            stored.bury(writer, batch, |_| true);
                            Err(BackendError::Refused { why: "simulated".into() })
                        }
                    };
                }
            }
        };
        if wait {
            self.killed.notify_one();
            std::future::pending::<()>().await;
        }
        failed()
    }

    fn render(&self, _: &Batch) -> String {
        String::new()
    }
}
