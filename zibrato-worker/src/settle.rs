//! Settling: from the ledger into the outbox, in one transaction.

use std::collections::HashSet;
use std::sync::Arc;

use zibrato_core::frame::Frame;
use zibrato_core::ledger::{Arrival, Counts, Delta, HORIZON, Ledger, Limits, Merged, Settlement, Slacks};
use zibrato_core::level::Levels;
use zibrato_core::trace::Verdict;

use crate::account::{Amount, Moved};
use crate::aggregate::{self, Aggregate, Making, aggregate, chunks};
use crate::backend::{Backend, Temporality};
use crate::batch::{Batch, Measurement, Series};
use crate::dead_letter::{DeadLetter, DeadLetters};
use crate::error::Error;
use crate::shape::Shape;
use crate::shard::{Dealer, measured};
use crate::state::{State, Step};
use crate::steady::Steady;
use crate::totals::{Advance, Totals};
use crate::trace::Tracing;

const SECOND: u64 = 1_000_000_000;
/// How long settled totals stay in memory that is not heard of, on the forgetting clock.
const IDLE: u64 = 600 * SECOND;
/// The same while memory is short.
const IDLE_IF_SHORT: u64 = 60 * SECOND;
/// How much longer than the horizon retired metrics are kept; frames with them are refused by then.
const RETIRED: u64 = 24 * 3600 * SECOND;

/// What settling goes by; times in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// By how much times may be wrong.
    pub slacks: Slacks,
    /// How long totals are kept of an instance that is no longer heard; [`HORIZON`] by default.
    pub horizon: u64,
    /// For how long a broker may have held a frame that is merged; [`HORIZON`] by default.
    pub oldest: u64,
    /// How many batches may wait before unsent ones are merged, and then nothing is settled; 1000 by default.
    pub outbox_limit: usize,
    /// How old a gauge may be to be sent as its current value; a minute by default.
    pub fresh: u64,
    /// How much may be in memory.
    pub limits: Limits,
    /// Of how many series running totals are kept, for backends that are told totals; a million by default.
    pub series: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            slacks: Slacks::default(),
            horizon: HORIZON,
            oldest: HORIZON,
            outbox_limit: 1000,
            fresh: 60 * SECOND,
            limits: Limits::default(),
            series: 1_000_000,
        }
    }
}

/// What settling came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was heard since the last time.
    Nothing,
    /// Batches were written to the outbox, none where nothing happened that a backend is told.
    Settled {
        /// How many.
        batches: usize,
        /// With how many measurements.
        measurements: usize,
        /// How many measurements became dead letters, because the backend cannot store their series.
        dead: usize,
        /// How many series were left out because there are too many.
        beyond: usize,
    },
    /// Less than the backend's resolution has passed since the last batch.
    TooEarly {
        /// When to try again, in nanoseconds on the worker's clock.
        until: u64,
    },
    /// The outbox is full; the totals wait.
    Full,
}

/// What happened to marked rows and led to nothing that is sent: it is left out, or was cancelled by something else.
fn untold<'a>(
    deltas: &'a [Delta],
    chunks: &[Vec<Measurement>],
    dead: &[DeadLetter],
) -> impl Iterator<Item = &'a Delta> {
    let marked: Vec<&Delta> = deltas.iter().filter(|delta| !delta.trace.marks().is_empty()).collect();
    let mut told = HashSet::new();
    if !marked.is_empty() {
        let sent = chunks.iter().flatten().chain(dead.iter().map(|letter| &letter.measurement));
        told.extend(sent.flat_map(|m| m.trace.marks()).map(|mark| (mark.instance, mark.number)));
    }
    let is_told = move |delta: &&Delta| {
        delta.trace.marks().iter().any(|mark| told.contains(&(mark.instance, mark.number)))
    };
    marked.into_iter().filter(move |delta| !is_told(delta))
}

/// A ledger and the state directory that it is settled into. Everything is done at a given time, in nanoseconds
/// since 1970 UTC on the worker's clock, so that it can be driven by hand.
#[derive(Debug)]
pub struct Settler {
    ledger: Ledger,
    state: State,
    dealer: Dealer,
    dead_letters: DeadLetters,
    rules: Rules,
    shape: Shape,
    /// Read when they are first needed: only some backends are told totals.
    totals: Option<Totals>,
    last_time: Option<u64>,
    began: u64,
    steady: Steady,
    left_out: Option<Series>,
    tracing: Option<Arc<Tracing>>,
}

impl Settler {
    /// Continues from what the state directory has, listening to `levels`: those that are new to it begin now.
    ///
    /// # Errors
    /// When the state directory cannot be read or written.
    pub fn new(state: State, levels: &Levels, rules: Rules, now: u64) -> Result<Settler, Error> {
        let mut settled = state.outline()?;
        let mut steady = Steady::new(state.newest_time()?, rules.slacks.clock / 2);
        if settled.since.begin(levels, steady.at(now).max(state.anew()?.unwrap_or(0))) {
            state.save_since(&settled.since)?;
        }
        Ok(Settler {
            ledger: Ledger::new(settled, rules.slacks, rules.horizon)
                .with_oldest(rules.oldest)
                .with_limits(rules.limits),
            dealer: Dealer::new(state.shard()),
            dead_letters: DeadLetters::new(state.directory()),
            last_time: state.last_time()?,
            state,
            rules,
            shape: Shape::default(),
            totals: None,
            began: now,
            steady,
            left_out: None,
            tracing: None,
        })
    }

    /// The totals of all series, as one batch of the time of the newest one; empty where totals were never asked for.
    ///
    /// # Errors
    /// When the state directory cannot be read.
    pub fn restored(&self) -> Result<Batch, Error> {
        let measurements = self.state.totals()?.into_iter().map(|running| running.measurement).collect();
        Ok(Batch { id: 0, from: 0, time: self.last_time.unwrap_or(0), measurements })
    }

    /// Has it told of marked rows what becomes of them.
    pub(crate) fn set_tracing(&mut self, tracing: Arc<Tracing>) {
        self.ledger.set_tracing(true);
        self.tracing = Some(tracing);
    }

    /// Sets what is left out, renamed and added from the next settling on.
    pub fn set_shape(&mut self, shape: Shape) {
        self.shape = shape;
    }

    /// A series that was lately left out because there are too many.
    pub(crate) fn left_out(&self) -> Option<&Series> {
        self.left_out.as_ref()
    }

    /// What is in memory.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The state directory.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What the ledger has counted.
    pub fn counts(&self) -> Counts {
        self.ledger.counts()
    }

    /// Whether a frame can be merged without asking the backend for its series; always, unless the load is shared.
    pub(crate) fn knows(&self, frame: &Frame) -> bool {
        self.dealer.knows(&frame.rows)
    }

    /// Asks the backend which of a frame's rows are this shard's.
    pub(crate) fn learn<B: Backend>(&mut self, frame: &Frame, backend: &B) {
        self.dealer.learn(&frame.rows, backend);
    }

    /// Merges a frame, after the backend was asked for series that are new.
    ///
    /// # Errors
    /// When what had been settled of its instance cannot be read.
    pub fn merge<B: Backend>(
        &mut self,
        level: &str,
        frame: Frame,
        arrival: Arrival,
        backend: &B,
    ) -> Result<Merged, Error> {
        self.learn(&frame, backend);
        self.merge_known(level, frame, arrival)
    }

    /// Merges a frame of which all series are known.
    pub(crate) fn merge_known(
        &mut self,
        level: &str,
        mut frame: Frame,
        arrival: Arrival,
    ) -> Result<Merged, Error> {
        let origin = self.ledger.origin(frame.head.instance, level);
        if !self.ledger.knows(&origin)
            && self.ledger.has_room_for(&frame.head.source)
            && let Some(entry) = self.state.recall(&origin)?
        {
            self.ledger.recall(origin, entry);
        }
        self.dealer.deal(&mut frame.rows);
        let arrival = Arrival { now: self.steady.at(arrival.now), ..arrival };
        let merged = self.ledger.merge(level, frame, arrival);
        if let Some(tracing) = &self.tracing {
            tracing.received(&self.ledger.take_received());
        }
        Ok(merged)
    }

    /// Writes down from where instances count that are older than the subscription; to be done soon after merging.
    /// Returns how many there were.
    ///
    /// # Errors
    /// When the state directory cannot be written; nothing has changed then.
    pub fn first_sights(&mut self) -> Result<usize, Error> {
        let ran = self.ledger.settled().ran;
        let settling = self.ledger.first_sights();
        let entries = &settling.settlement().entries;
        if entries.is_empty() {
            return Ok(0);
        }
        let moved = Moved::by(settling.settlement());
        let clock = self.steady.newest();
        self.state.settle(&Step { entries, moved, ran, clock, ..Step::default() })?;
        Ok(settling.commit().entries.len())
    }

    /// Settles what has happened until `now`, in one transaction. With `force` also before the backend's resolution
    /// has passed; times strictly advance all the same.
    ///
    /// # Errors
    /// When the state directory cannot be written; nothing has changed then.
    pub fn settle<B: Backend>(&mut self, backend: &B, now: u64, force: bool) -> Result<Outcome, Error> {
        let resolution = (backend.resolution().as_nanos() as u64).max(1);
        let time = now.div_ceil(resolution).saturating_mul(resolution);
        let earliest = self.last_time.map_or(0, |last| last.saturating_add(resolution));
        // If the clock was set back by far, waiting for it would take too long: times then run ahead of it.
        let ahead = earliest.saturating_sub(time);
        if !force && ahead > 0 && ahead <= resolution.saturating_mul(2) {
            return Ok(Outcome::TooEarly { until: now.saturating_add(ahead) });
        }
        let time = time.max(earliest);
        let limit = self.rules.outbox_limit.max(1);
        if self.state.waiting()? >= limit {
            self.state.merge_unsent(backend.batch_size(), backend.temporality())?;
            if self.state.waiting()? >= limit {
                return Ok(Outcome::Full);
            }
        }
        let totals = match (backend.temporality(), &mut self.totals) {
            (Temporality::Delta, _) => None,
            (Temporality::Cumulative, Some(totals)) => Some(totals),
            (Temporality::Cumulative, none) => {
                Some(none.insert(Totals::new(self.state.totals()?, self.rules.series)))
            }
        };
        let ran = self.ledger.settled().ran;
        let fresh = self.steady.at(now).saturating_sub(self.rules.fresh);
        let clock = self.steady.newest();
        let settling = self.ledger.settle(fresh);
        let Settlement { deltas, entries, unchanged } = settling.settlement();
        if entries.is_empty() {
            return Ok(Outcome::Nothing);
        }
        let from = self.last_time.unwrap_or(if totals.is_some() { self.began.min(time - 1) } else { 0 });
        let making = Making { backend, shape: &self.shape, ledger: settling.ledger(), from };
        let mut advance = Advance::default();
        let (measurements, dead) = match &totals {
            None => {
                let Aggregate { measurements, dead } = aggregate(deltas, &making);
                (measurements, dead)
            }
            Some(totals) => {
                advance = aggregate::advance(deltas, settling.alive(), &making, totals, ran);
                (std::mem::take(&mut advance.measurements), std::mem::take(&mut advance.dead))
            }
        };
        let beyond = std::mem::take(&mut advance.beyond);
        let outcome_measurements = measurements.len();
        let chunks = chunks(measurements, backend.batch_size());
        // Rather twice after a crash than not at all.
        self.dead_letters.write(time, &dead)?;
        let period = (self.last_time.unwrap_or(0), time);
        let moved = Moved::by(settling.settlement());
        let refused = dead.iter().map(|letter| Amount::of(&letter.measurement)).sum();
        let step = Step {
            entries,
            moved,
            dead: refused,
            chunks: &chunks,
            totals: &advance.changed,
            period,
            ran,
            clock,
        };
        let ids = self.state.settle(&step)?;
        if let Some(tracing) = &self.tracing {
            tracing.batches(ids.into_iter().zip(chunks.iter().map(Vec::as_slice)));
            for letter in &dead {
                let (marks, why) = (letter.measurement.trace.marks(), Some(&*letter.reason));
                tracing.settled(marks, None, Verdict::Refused, why);
            }
            tracing.settled(unchanged, None, Verdict::Unchanged, None);
            for delta in untold(deltas, &chunks, &dead) {
                let left_out = !self.shape.apply(&mut measured(&delta.key), Some(delta.origin.instance));
                let verdict = if left_out { Verdict::Dropped } else { Verdict::Unchanged };
                let why = left_out.then_some("left out by the worker's filters");
                tracing.settled(delta.trace.marks(), None, verdict, why);
            }
        }
        settling.commit();
        if let Some(totals) = totals {
            totals.commit(advance);
        }
        if !chunks.is_empty() {
            self.last_time = Some(time);
        }
        self.left_out = beyond.1.or(self.left_out.take());
        Ok(Outcome::Settled {
            batches: chunks.len(),
            measurements: outcome_measurements,
            dead: dead.len(),
            beyond: usize::try_from(beyond.0).unwrap_or(usize::MAX),
        })
    }

    /// Moves the forgetting clock on by time in which every broker answered.
    pub fn run(&mut self, elapsed: u64) {
        self.ledger.run(elapsed);
    }

    /// Frees memory of what has not been heard for a while, if it is short.
    pub(crate) fn make_room(&mut self) {
        if self.ledger.is_short_of_room() {
            self.ledger.release(IDLE_IF_SHORT);
        }
    }

    /// Forgets what has not been heard for longer than the horizon, and frees memory; returns how many instances
    /// were forgotten.
    ///
    /// # Errors
    /// When the state directory cannot be read or written.
    pub fn forget(&mut self, now: u64) -> Result<usize, Error> {
        let ran = self.ledger.settled().ran;
        let candidates = self.state.heard_before(ran.saturating_sub(self.rules.horizon))?;
        let (gone, horizon) = self.ledger.forgettable(candidates, self.steady.at(now));
        let retired = ran.saturating_sub(self.rules.horizon.saturating_add(RETIRED));
        self.state.forget(&gone, horizon, retired, ran)?;
        self.ledger.forget(&gone, horizon);
        self.ledger.forget_retired(retired);
        if let Some(totals) = &mut self.totals {
            let oldest = ran.saturating_sub(self.rules.horizon);
            self.state.forget_totals(totals.heard_after(oldest), oldest)?;
            totals.forget(oldest);
        }
        self.ledger.release(IDLE);
        Ok(gone.len())
    }
}
