//! How a worker is, for others than the worker itself.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};
use zibrato_core::clock;
use zibrato_core::frame::Row;
use zibrato_transport::Broker;

use crate::status::Status;
use crate::subscription::Heard;

/// After how many seconds without its backend a worker does not do its work; the alarm comes at the same time.
const OUTAGE: f64 = 300.0;

/// What is said of a backend that has taken nothing for so many seconds.
fn away(outage: f64) -> Option<String> {
    (outage > OUTAGE).then(|| {
        format!("the backend has taken nothing for {outage:.0} s; batches wait, and the log has why")
    })
}

/// What a worker lets others see while it runs.
#[derive(Debug)]
pub(crate) struct Vitals {
    pub(crate) backend: &'static str,
    pub(crate) brokers: Vec<Broker>,
    pub(crate) levels: String,
    pub(crate) directory: String,
    pub(crate) status: Arc<Status>,
    pub(crate) heard: Heard,
    /// Who of those that use the state directory has found it failing.
    pub(crate) failing: Arc<AtomicU8>,
    /// Its own metrics as it last knew them.
    rows: Mutex<Arc<[Row]>>,
}

impl Vitals {
    pub(crate) fn new(
        backend: &'static str,
        brokers: &[Broker],
        levels: String,
        directory: String,
        status: Arc<Status>,
        heard: Heard,
        failing: Arc<AtomicU8>,
    ) -> Vitals {
        let rows = Mutex::new(Arc::from([]));
        Vitals { backend, brokers: brokers.to_vec(), levels, directory, status, heard, failing, rows }
    }

    pub(crate) fn set_rows(&self, rows: Vec<Row>) {
        *self.rows.lock().unwrap_or_else(PoisonError::into_inner) = rows.into();
    }

    pub(crate) fn rows(&self) -> Arc<[Row]> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is missing for its work.
    pub(crate) fn lacks(&self) -> Vec<String> {
        let deaf = (!self.heard.any()).then(|| "nothing is heard of any broker".into());
        let failing = self.failing.load(Relaxed) != 0;
        let failing = failing.then(|| "the state directory cannot be written".into());
        let outage = away(self.status.outage(clock::unix_nanos()));
        [deaf, failing, outage].into_iter().flatten().collect()
    }

    pub(crate) fn json(&self) -> Value {
        let now = clock::unix_nanos();
        let brokers: Vec<Value> = self
            .brokers
            .iter()
            .enumerate()
            .map(|(index, broker)| json!({"broker": broker.to_string(), "heard": self.heard.is(index)}))
            .collect();
        let figures: Map<String, Value> =
            self.status.figures().named().map(|(name, n)| (name.into(), n.into())).collect();
        json!({
            "backend": self.backend,
            "brokers": brokers,
            "brokers_refusals": self.heard.refusals(),
            "levels": self.levels,
            "state": self.directory,
            "state_failing": self.failing.load(Relaxed) != 0,
            "outbox_batches": self.status.outbox_batches(),
            "outbox_oldest_s": self.status.oldest(now),
            "outage_s": self.status.outage(now),
            "settled_s_ago": self.status.settled(now),
            "figures": figures,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_that_is_away_is_told_after_a_while() {
        assert_eq!(away(0.0), None);
        assert_eq!(away(299.0), None);
        assert!(away(301.4).is_some_and(|why| why.contains("nothing for 301 s")));
    }
}
