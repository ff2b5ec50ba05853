//! What the admin port and systemd's watchdog are told of the workers of a process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::{Map, Value, json};
use zibrato_admin::{Help, Liveness, Part};
use zibrato_core::frame::{Key, Kind, Row, State, Tags, Total};

use crate::metrics::METRICS;
use crate::vitals::Vitals;

/// The workers of a process, as far as its admin port tells of them.
#[derive(Debug)]
pub struct Admin {
    liveness: Liveness,
    workers: Mutex<BTreeMap<String, Worker>>,
    stops: AtomicBool,
    began: Instant,
}

#[derive(Debug, Default)]
struct Worker {
    vitals: Option<Arc<Vitals>>,
    /// Why it does not run, after it failed.
    why: Option<String>,
    failures: u64,
}

impl Default for Admin {
    fn default() -> Self {
        let (liveness, workers) = (Liveness::default(), Mutex::default());
        Admin { liveness, workers, stops: AtomicBool::new(false), began: Instant::now() }
    }
}

impl Admin {
    /// A worker of this name is about to start.
    pub fn starts(&self, name: &str) {
        self.workers().entry(name.into()).or_default();
    }

    /// The worker of this name has failed, and is started again later.
    pub fn failed(&self, name: &str, why: &str) {
        let mut workers = self.workers();
        let worker = workers.entry(name.into()).or_default();
        (worker.vitals, worker.why) = (None, Some(why.into()));
        worker.failures += 1;
    }

    /// The worker of this name was ended for good.
    pub fn ended(&self, name: &str) {
        self.workers().remove(name);
    }

    /// The process is about to end.
    pub fn stops(&self) {
        self.stops.store(true, Relaxed);
    }

    pub(crate) fn works(&self, name: &str, vitals: Arc<Vitals>) {
        let mut workers = self.workers();
        let worker = workers.entry(name.into()).or_default();
        (worker.vitals, worker.why) = (Some(vitals), None);
    }

    pub(crate) fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    fn workers(&self) -> MutexGuard<'_, BTreeMap<String, Worker>> {
        // It is held for moments only, and what it guards is never half done.
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part for Admin {
    fn troubles(&self) -> Vec<String> {
        self.liveness.stuck()
    }

    fn lacks(&self) -> Vec<String> {
        let mut lacks = Vec::new();
        if self.stops.load(Relaxed) {
            lacks.push("the worker is about to end".into());
        }
        let workers = self.workers();
        if workers.is_empty() {
            lacks.push("no worker has started yet".into());
        }
        for (name, worker) in &*workers {
            match (&worker.vitals, &worker.why) {
                (Some(vitals), _) => {
                    lacks.extend(vitals.lacks().into_iter().map(|lack| format!("{name}: {lack}")));
                }
                (None, Some(why)) => lacks.push(format!("{name}: it failed to {why}")),
                (None, None) => lacks.push(format!("{name}: its state is being read")),
            }
        }
        lacks
    }

    fn metrics(&self) -> Vec<Row> {
        let workers = self.workers();
        let mut rows: Vec<Row> = Vec::new();
        for (name, worker) in &*workers {
            rows.extend(worker.vitals.iter().flat_map(|vitals| vitals.rows().to_vec()));
            let key = Key {
                kind: Kind::Counter,
                name: "zibrato.worker.failures".into(),
                source: name.as_str().into(),
                tags: Tags::new([("worker", name.as_str())]),
                born: 0,
            };
            let total = Total::whole(i64::try_from(worker.failures).unwrap_or(i64::MAX));
            rows.push(Row { key, state: State::Total(total), trace: None, event: None });
        }
        rows
    }

    fn help(&self) -> Help {
        METRICS
    }

    fn status(&self) -> String {
        let workers = self.workers();
        let workers: Map<String, Value> = workers
            .iter()
            .map(|(name, worker)| {
                let vitals = worker.vitals.as_ref().map(|vitals| vitals.json());
                let mut told = vitals.unwrap_or_else(|| json!({}));
                told["failures"] = worker.failures.into();
                told["failed"] = worker.why.clone().into();
                (name.clone(), told)
            })
            .collect();
        let (version, uptime) = (env!("CARGO_PKG_VERSION"), self.began.elapsed().as_secs_f64());
        json!({ "version": version, "uptime_s": uptime, "workers": workers }).to_string()
    }
}
