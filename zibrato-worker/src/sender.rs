//! Sending: from the outbox to the backend, in order, until it is accepted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use zibrato_core::clock;

use crate::account::Amount;
use crate::backend::{Accepted, Backend, BackendError};
use crate::backoff::Backoff;
use crate::batch::{Batch, Measurement};
use crate::dead_letter::{DeadLetter, DeadLetters};
use crate::error::Error;
use crate::state::{Attempt, State};
use crate::status::Status;
use crate::trace::Tracing;

/// How long a backend may take for one request before it is given up and sent again.
const LONGEST: Duration = Duration::from_secs(120);

/// What one step of sending came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The outbox is empty.
    Nothing,
    /// A batch is done, or a part of it.
    Batch,
    /// The backend could not take it: the next step should come after this time.
    Later(Duration),
}

/// Sends what is in an outbox.
#[derive(Debug)]
pub struct Sender<B> {
    backend: Arc<Mutex<B>>,
    state: State,
    dead_letters: DeadLetters,
    status: Arc<Status>,
    backoff: Backoff,
    connected: bool,
    outage: Option<Instant>,
    /// The last batch that the backend said something about.
    told: Option<u64>,
    /// What it said of that batch, as long as it is not on the disk.
    answered: Option<Answered>,
    tracing: Option<Arc<Tracing>>,
}

/// What is left to be written down of an answer.
#[derive(Debug)]
struct Answered {
    id: u64,
    time: u64,
    dead: Arc<[DeadLetter]>,
    /// How much that is.
    refused: Amount,
    /// What is to be sent again; the batch is done where that is nothing.
    again: Arc<[Measurement]>,
}

impl<B: Backend> Sender<B> {
    /// Sends the outbox of `state` to `backend`.
    pub fn new(backend: Arc<Mutex<B>>, state: State, status: Arc<Status>) -> Self {
        let dead_letters = DeadLetters::new(state.directory());
        Sender {
            backend,
            state,
            dead_letters,
            status,
            backoff: Backoff::default(),
            connected: false,
            outage: None,
            told: None,
            answered: None,
            tracing: None,
        }
    }

    /// The same, telling of marked rows what the backend says of them.
    pub(crate) fn with_tracing(self, tracing: Option<Arc<Tracing>>) -> Self {
        Sender { tracing, ..self }
    }

    /// Sends the oldest batch once.
    ///
    /// # Errors
    /// When the state directory cannot be read or written. Whatever the backend does is no error.
    pub async fn step(&mut self) -> Result<Sent, Error> {
        if self.answered.is_some() {
            // The disk failed in between. To send it again could count it twice.
            self.write_down().await?;
            return Ok(Sent::Batch);
        }
        let waiting = self.with_state(|state| state.waiting()).await?;
        self.status.set_outbox_batches(waiting as u64);
        if waiting == 0 {
            return Ok(Sent::Nothing);
        }
        if !self.connected {
            match self.limited(async |backend: &mut B| backend.connect().await).await {
                Ok(()) => self.connected = true,
                Err(why) => return Ok(self.failed(why)),
            }
        }
        // That it is being sent is on the disk before it is.
        let Some(Attempt { batch, number }) = self.with_state(|state| state.attempt()).await? else {
            return Ok(Sent::Nothing);
        };
        self.status.set_oldest(batch.time);
        if number > 1 && self.outage.is_none() {
            tracing::info!(
                batch = batch.id,
                attempt = number,
                "sending a batch again that may have been accepted"
            );
        }
        let in_doubt = number > 1 && self.told != Some(batch.id);
        let mut told = None;
        let work = async |backend: &mut B| {
            if in_doubt {
                backend.in_doubt(&batch);
            }
            let result = backend.send(&batch).await;
            told = Some(batch.id);
            self.status.set_backend(backend.counts());
            result
        };
        let result = self.limited(work).await;
        self.told = told;
        if let Some(tracing) = &self.tracing {
            tracing.answered(&batch, &result);
        }
        match result {
            Ok(Accepted::All) => {
                self.status.measurements_sent(batch.measurements.len());
                self.accepted();
                self.note(batch.id, batch.time, Vec::new(), Vec::new()).await?;
                Ok(Sent::Batch)
            }
            Ok(Accepted::Partly { refused, retry }) => self.partly(batch, refused, retry).await,
            Err(BackendError::Refused { why }) => {
                tracing::error!(
                    batch = batch.id, measurements = batch.measurements.len(), why,
                    file = %self.dead_letters.path().display(), "the backend refused a batch; it is with the dead letters"
                );
                let letters = batch.measurements.into_iter();
                let letters = letters.map(|measurement| DeadLetter { measurement, reason: why.clone() });
                self.status.batches_refused(1);
                // It answers, so it is not down.
                self.recovered();
                self.note(batch.id, batch.time, letters.collect(), Vec::new()).await?;
                Ok(Sent::Batch)
            }
            Err(why) => Ok(self.failed(why)),
        }
    }

    /// Sends until the outbox is empty or the backend fails.
    ///
    /// # Errors
    /// As [`step`](Sender::step).
    pub async fn drain(&mut self) -> Result<Sent, Error> {
        loop {
            match self.step().await? {
                Sent::Batch => {}
                end => return Ok(end),
            }
        }
    }

    async fn partly(
        &mut self,
        batch: Batch,
        refused: Vec<(usize, String)>,
        retry: Vec<usize>,
    ) -> Result<Sent, Error> {
        let Batch { id, time, measurements, .. } = batch;
        let total = measurements.len();
        let mut all: Vec<Option<Measurement>> = measurements.into_iter().map(Some).collect();
        let mut take = |index: usize| all.get_mut(index).and_then(Option::take);
        let again: Vec<Measurement> = retry.into_iter().filter_map(&mut take).collect();
        let dead: Vec<DeadLetter> = refused
            .into_iter()
            .filter_map(|(index, reason)| Some(DeadLetter { measurement: take(index)?, reason }))
            .collect();
        if let Some(first) = dead.first() {
            tracing::error!(
                batch = id, measurements = dead.len(), first = first.measurement.series.name, why = first.reason,
                file = %self.dead_letters.path().display(), "the backend refused measurements; they are with the dead letters"
            );
        }
        let (kept, buried) = (again.len(), dead.len());
        self.status.measurements_sent(total - kept - buried);
        if kept == 0 {
            self.accepted();
            self.note(id, time, dead, again).await?;
            return Ok(Sent::Batch);
        }
        self.note(id, time, dead, again).await?;
        if kept < total {
            // It moves on, and so may the rest after a moment.
            self.backoff.succeeded();
        }
        let why = format!("{kept} of {total} measurements were not taken");
        Ok(self.failed(BackendError::Retry { why, after: None }))
    }

    /// Writes down what the backend has said of a batch; where that fails, the next step does it.
    async fn note(
        &mut self,
        id: u64,
        time: u64,
        dead: Vec<DeadLetter>,
        again: Vec<Measurement>,
    ) -> Result<(), Error> {
        self.status.dead_letters(dead.len());
        let refused = dead.iter().map(|letter| Amount::of(&letter.measurement)).sum();
        self.answered = Some(Answered { id, time, dead: dead.into(), refused, again: again.into() });
        self.write_down().await
    }

    async fn write_down(&mut self) -> Result<(), Error> {
        let Some(answered) = &mut self.answered else { return Ok(()) };
        let (id, time) = (answered.id, answered.time);
        let (letters, file) = (answered.dead.clone(), DeadLetters::new(self.state.directory()));
        blocking(move || file.write(time, &letters)).await?;
        answered.dead = Arc::default();
        let (again, refused, state) = (answered.again.clone(), answered.refused, self.state.clone());
        blocking(move || match again.is_empty() {
            true => state.finish(id, refused),
            false => state.keep(id, &again, refused),
        })
        .await?;
        self.answered = None;
        Ok(())
    }

    fn accepted(&mut self) {
        self.status.batches_sent(1);
        self.recovered();
    }

    /// Ends an outage, with one line for all of it.
    fn recovered(&mut self) {
        if let Some(began) = self.outage.take() {
            self.status.set_outage(0);
            let seconds = began.elapsed().as_secs_f64();
            tracing::info!(
                backend = B::NAME,
                seconds,
                failures = self.backoff.failures(),
                "the backend takes batches again"
            );
        }
        self.backoff.succeeded();
    }

    fn failed(&mut self, why: BackendError) -> Sent {
        self.status.retries(1);
        self.connected = false;
        let asked = if let BackendError::Retry { after, .. } = &why { *after } else { None };
        let wait = self.backoff.failed(asked);
        if self.outage.is_none() {
            self.outage = Some(Instant::now());
            self.status.set_outage(clock::unix_nanos());
            tracing::warn!(backend = B::NAME, %why, "the backend does not take batches; they wait in the outbox");
        } else {
            tracing::debug!(backend = B::NAME, %why, wait = wait.as_secs_f64(), "the backend still does not take batches");
        }
        Sent::Later(wait)
    }

    /// Does something with the backend, but not for ever.
    async fn limited<T>(
        &self,
        work: impl AsyncFnOnce(&mut B) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let mut backend = self.backend.lock().await;
        let result = tokio::time::timeout(LONGEST, work(&mut backend)).await;
        result.unwrap_or_else(|_| {
            let why = format!("no answer within {} s", LONGEST.as_secs());
            Err(BackendError::Retry { why, after: None })
        })
    }

    async fn with_state<T: Send + 'static>(
        &self,
        work: impl FnOnce(&State) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let state = self.state.clone();
        blocking(move || work(&state)).await
    }
}

/// Does something that waits for a disk without holding up others.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|why| Error::Task { why: format!("a task that uses the disk: {why}") })?
}
