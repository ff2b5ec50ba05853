//! What the worker tells of rows that are marked for tracing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zibrato_core::clock;
use zibrato_core::publish::Set;
use zibrato_core::trace::{Event, Hop, Journal, Mark, Verdict};

use crate::backend::{Accepted, BackendError};
use crate::batch::{Batch, Measurement};

/// Most events that are kept, to be sent or for receivers that come late.
const EVENTS: usize = 10_000;

/// A journal that the parts of a worker share.
#[derive(Debug)]
pub(crate) struct Tracing {
    backend: Arc<str>,
    journal: Mutex<Journal>,
}

impl Tracing {
    /// Nothing told yet; `source` is where the worker runs, `backend` what it sends to.
    pub(crate) fn new(source: &str, backend: &str) -> Tracing {
        Tracing { backend: backend.into(), journal: Mutex::new(Journal::new(source, EVENTS)) }
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of rows that were received.
    pub(crate) fn received(&self, marks: &[Arc<Mark>]) {
        self.tell(Hop::Received, marks, None, Verdict::Ok, None);
    }

    /// Tells of rows that were settled, in this batch where there is one.
    pub(crate) fn settled(
        &self,
        marks: &[Arc<Mark>],
        batch: Option<u64>,
        verdict: Verdict,
        why: Option<&str>,
    ) {
        self.tell(Hop::Settled, marks, batch, verdict, why);
    }

    /// Tells what a backend has said of a batch. One that has no marked rows costs a look at each measurement.
    pub(crate) fn answered(&self, batch: &Batch, answer: &Result<Accepted, BackendError>) {
        for (index, measurement) in batch.measurements.iter().enumerate() {
            let marks = measurement.trace.marks();
            if marks.is_empty() {
                continue;
            }
            let (verdict, why) = match answer {
                Ok(Accepted::All) => (Verdict::Ok, None),
                Ok(Accepted::Partly { refused, retry }) => {
                    match refused.iter().find(|(refused, _)| *refused == index) {
                        Some((_, why)) => (Verdict::Refused, Some(&**why)),
                        None if retry.contains(&index) => (Verdict::Retry, None),
                        None => (Verdict::Ok, None),
                    }
                }
                Err(BackendError::Refused { why }) => (Verdict::Refused, Some(&**why)),
                Err(BackendError::Retry { why, .. }) => (Verdict::Retry, Some(&**why)),
            };
            self.tell(Hop::Backend, marks, Some(batch.id), verdict, why);
        }
    }

    /// Tells of the measurements of a settlement, by the numbers of their batches.
    pub(crate) fn batches<'a>(&self, batches: impl IntoIterator<Item = (u64, &'a [Measurement])>) {
        for (id, measurements) in batches {
            for measurement in measurements {
                self.settled(measurement.trace.marks(), Some(id), Verdict::Ok, None);
            }
        }
    }

    fn tell(&self, hop: Hop, marks: &[Arc<Mark>], batch: Option<u64>, verdict: Verdict, why: Option<&str>) {
        if marks.is_empty() {
            return;
        }
        // As every sender's, its times run on a clock that is never stepped.
        let now = clock::unix_nanos();
        let mut journal = self.journal();
        for mark in marks {
            let event = Event::new(hop, Mark::clone(mark), now).with_verdict(verdict, why);
            journal.tell(Event { backend: Some(self.backend.clone()), batch, ..event });
        }
    }

    /// How many events were told, and for how many there was no room.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let journal = self.journal();
        (journal.told(), journal.dropped())
    }

    /// The set to send now, if there is anything to tell.
    pub(crate) fn set(&self, now: u64, last: bool) -> Option<Set> {
        self.journal().set(now, last)
    }
}
