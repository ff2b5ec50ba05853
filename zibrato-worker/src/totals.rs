//! Running totals of series, for backends that are told totals.
//!
//! They are moved forward by what is settled, in the same transaction, and know nothing of instances: when one ends,
//! its part stays.

use std::collections::HashMap;

use zibrato_core::frame::{Kind, Total};
use zibrato_core::histogram::Histogram;
use zibrato_core::ledger::Shares;

use crate::aggregate::{absorb, are_added, kind_of};
use crate::batch::{Measurement, Series, Summary, Value};
use crate::dead_letter::DeadLetter;

/// The total of one series.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Running {
    pub(crate) measurement: Measurement,
    /// When one of its programs was last heard, on the forgetting clock.
    pub(crate) heard: u64,
    /// Decides to which shard it belongs: the hash of the series before anything was added to it.
    pub(crate) dealt: u64,
}

/// The totals of all series.
#[derive(Debug)]
pub(crate) struct Totals {
    running: HashMap<Series, Running>,
    /// Places for series, by source.
    shares: Shares,
}

/// A series at the time of settling.
#[derive(Debug)]
pub(crate) struct Touched {
    /// What happened to it, or nothing: then the value is a zero.
    pub(crate) measurement: Measurement,
    pub(crate) dealt: u64,
}

/// Totals that are moved forward once they are on the disk.
#[derive(Debug, Default)]
pub(crate) struct Advance {
    /// How many series were left out because there is no place for them, and one of them.
    pub(crate) beyond: (u64, Option<Series>),
    /// What is to be sent.
    pub(crate) measurements: Vec<Measurement>,
    /// The totals that are others than before.
    pub(crate) changed: Vec<Running>,
    /// What cannot be added to the total of its series.
    pub(crate) dead: Vec<DeadLetter>,
    heard: Vec<Series>,
    shares: Option<Shares>,
    ran: u64,
}

impl Totals {
    /// The totals that were stored, with places for so many series in all.
    pub(crate) fn new(stored: impl IntoIterator<Item = Running>, places: usize) -> Self {
        let mut shares = Shares::new(places);
        let stored = stored.into_iter().inspect(|running| shares.enter(&running.measurement.series.source));
        let running = stored.map(|running| (running.measurement.series.clone(), running)).collect();
        Totals { running, shares }
    }

    /// What follows from what `happened` to series since `since`, and from `alive` ones to which nothing did, at `ran`
    /// on the forgetting clock. A series occurs once in what happened, points aside.
    pub(crate) fn advance(
        &self,
        happened: impl IntoIterator<Item = Touched>,
        alive: impl IntoIterator<Item = Touched>,
        since: u64,
        ran: u64,
    ) -> Advance {
        let mut advance = Advance { ran, ..Advance::default() };
        let mut shares = self.shares.clone();
        let mut gets_place = |series: &Series| {
            let has = shares.has_place(&series.source);
            if has {
                shares.enter(&series.source);
            }
            has
        };
        let mut done: HashMap<Series, ()> = HashMap::new();
        for Touched { mut measurement, dealt } in happened {
            if matches!(measurement.value, Value::Gauge(_) | Value::Point { .. }) {
                advance.measurements.push(measurement);
                continue;
            }
            // It belongs to what happened, not to the total.
            let trace = std::mem::take(&mut measurement.trace);
            let running = match self.running.get(&measurement.series) {
                None if !gets_place(&measurement.series) => {
                    advance.beyond.0 += 1;
                    advance.beyond.1.get_or_insert(measurement.series);
                    continue;
                }
                None => Running { measurement: Measurement { since, ..measurement }, heard: ran, dealt },
                Some(old) if are_added(&old.measurement.value, &measurement.value) => {
                    let mut running = Running { heard: ran, ..old.clone() };
                    let sum = &mut running.measurement;
                    absorb(&mut sum.value, measurement.value);
                    sum.level = measurement.level;
                    sum.unit = measurement.unit.or(sum.unit.take());
                    sum.help = measurement.help.or(sum.help.take());
                    running
                }
                Some(old) => {
                    let kind = kind_of(&old.measurement.value);
                    let reason = format!("the series has a total of another kind: {kind}");
                    advance.dead.push(DeadLetter { measurement, reason });
                    continue;
                }
            };
            done.insert(running.measurement.series.clone(), ());
            advance.measurements.push(Measurement { trace, ..running.measurement.clone() });
            advance.changed.push(running);
        }
        for Touched { measurement, dealt } in alive {
            if done.insert(measurement.series.clone(), ()).is_some() {
                continue;
            }
            match self.running.get(&measurement.series) {
                Some(old) => {
                    advance.measurements.push(old.measurement.clone());
                    advance.heard.push(measurement.series);
                }
                None if !gets_place(&measurement.series) => {}
                None => {
                    let measurement = Measurement { since, ..measurement };
                    advance.measurements.push(measurement.clone());
                    advance.changed.push(Running { measurement, heard: ran, dealt });
                }
            }
        }
        advance.shares = Some(shares);
        advance
    }

    /// Makes it so.
    pub(crate) fn commit(&mut self, advance: Advance) {
        for series in &advance.heard {
            if let Some(running) = self.running.get_mut(series) {
                running.heard = advance.ran;
            }
        }
        for running in advance.changed {
            self.running.insert(running.measurement.series.clone(), running);
        }
        if let Some(shares) = advance.shares {
            self.shares = shares;
        }
    }

    /// Series that were heard after `ran` on the forgetting clock, and when.
    pub(crate) fn heard_after(&self, ran: u64) -> impl Iterator<Item = (&Series, u64)> {
        self.running
            .values()
            .filter(move |running| running.heard > ran)
            .map(|r| (&r.measurement.series, r.heard))
    }

    /// Forgets series that were last heard before `ran` on the forgetting clock.
    pub(crate) fn forget(&mut self, ran: u64) {
        let shares = &mut self.shares;
        self.running.retain(|series, running| {
            let stays = running.heard >= ran;
            if !stays {
                shares.leave(&series.source);
            }
            stays
        });
    }
}

/// The total of a series to which nothing has happened; `None` for kinds that have none.
pub(crate) fn zero(kind: Kind) -> Option<Value> {
    let nothing = || Summary {
        sum: Total::default(),
        min: 0.0,
        max: 0.0,
        approximate: true,
        histogram: Histogram::default(),
    };
    match kind {
        Kind::Counter => Some(Value::Counter(Total::default())),
        Kind::Updown => Some(Value::Updown(Total::default())),
        Kind::Timer => Some(Value::Timer(nothing())),
        Kind::Distribution => Some(Value::Distribution(nothing())),
        _ => None,
    }
}
