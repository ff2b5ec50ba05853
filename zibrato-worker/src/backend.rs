//! What a worker program implements: where measurements go.

use std::future::Future;
use std::time::Duration;

use crate::batch::{Batch, Series};

/// What the values of counters, updown counters, timers and distributions tell of. The terms are OpenTelemetry's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Temporality {
    /// Of what happened since the batch before. A batch has the series to which something happened.
    #[default]
    Delta,
    /// Of all that happened since the series began, at [`since`](crate::Measurement::since), added up over all
    /// programs that measured it, also those that are gone. A batch has the series of all programs that were heard
    /// since the batch before, whether or not anything happened.
    Cumulative,
}

/// A service that takes measurements.
///
/// The kit calls one method at a time, always with the oldest batch that is not yet accepted. A batch that is sent
/// again after a failure or a restart is the same to the last bit, with the same id and time, except for the
/// measurements that were accepted or refused before.
pub trait Backend: Send + 'static {
    /// Names the program's logs and its state directory: lower case, no blanks, as in `librato`.
    const NAME: &'static str;

    /// Changes name, source and tags to what the service stores, so that what it would store as one series is
    /// added up before it is sent. Where it does not tell counters from updown counters, the kind is made one, too.
    ///
    /// Must give the same answer for the same series for as long as a state directory is in use.
    ///
    /// # Errors
    /// Why the service cannot store the series; its measurements become dead letters.
    fn series(&self, series: &mut Series) -> Result<(), String> {
        let _ = series;
        Ok(())
    }

    /// What the service is to be told of; [`Temporality::Delta`] by default. The same for as long as a state directory
    /// is in use, or totals begin anew.
    fn temporality(&self) -> Temporality {
        Temporality::Delta
    }

    /// Takes the totals of all series as they were when the batch of this time was made, before the first batch of a
    /// [cumulative](Temporality::Cumulative) backend is sent. Batches that were not sent before the restart are sent
    /// again after it, with earlier times. Does nothing by default.
    fn restore(&mut self, totals: Batch) {
        let _ = totals;
    }

    /// The smallest step between two times of a series that the service tells apart; 1 s by default.
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// Most measurements of one batch, which is one request; 300 by default.
    fn batch_size(&self) -> usize {
        300
    }

    /// Gets ready to send: called before the first batch and after failures. Does nothing by default.
    ///
    /// # Errors
    /// When the service cannot be reached ([`BackendError::Retry`]). [`BackendError::Refused`], for a wrong password
    /// or the like, is logged and tried again too, because nothing is lost by waiting.
    fn connect(&mut self) -> impl Future<Output = Result<(), BackendError>> + Send {
        async { Ok(()) }
    }

    /// Is told of a batch, before it is sent, that it may have been accepted: sending it was cut off, by the end of the
    /// worker before this one or because it took too long. For services that would count it twice; does nothing by
    /// default.
    fn in_doubt(&mut self, batch: &Batch) {
        let _ = batch;
    }

    /// Sends one batch and waits until the service has accepted it.
    ///
    /// # Errors
    /// [`BackendError::Retry`] keeps the batch for later, [`BackendError::Refused`] makes all of it dead letters.
    fn send(&mut self, batch: &Batch) -> impl Future<Output = Result<Accepted, BackendError>> + Send;

    /// What the backend itself has counted since it was made, by names such as `packets_sent`. The worker sends them with
    /// its own metrics, as counters `zibrato.worker.packets.sent`; there are none by default.
    fn counts(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// The text of what [`send`](Backend::send) would send, without secrets; `--dry-run` prints it.
    fn render(&self, batch: &Batch) -> String;
}

/// What a service did with a batch that it did not refuse as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// Took all of it.
    All,
    /// Took what is not listed here; the numbers are indices into [`Batch::measurements`].
    Partly {
        /// Measurements that it will never take, and why.
        refused: Vec<(usize, String)>,
        /// Measurements that are to be sent again.
        retry: Vec<usize>,
    },
}

/// Why a batch was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendError {
    /// It may be accepted later: no connection, a timeout, a rate limit, the service's own failure, a wrong password.
    Retry {
        /// What happened, for the log.
        why: String,
        /// How long the service asks to wait, where it says so.
        after: Option<Duration>,
    },
    /// It will never be accepted.
    Refused {
        /// What the service says about it.
        why: String,
    },
}

impl std::fmt::Display for BackendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BackendError::Retry { why, after: Some(after) } => {
                write!(f, "{why} (asked to wait {} s)", after.as_secs_f64())
            }
            BackendError::Retry { why, after: None } | BackendError::Refused { why } => f.write_str(why),
        }
    }
}

impl std::error::Error for BackendError {}
