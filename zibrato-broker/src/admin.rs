//! What the admin port and systemd's watchdog are told of the broker.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use zibrato_admin::{Help, Liveness, Part};
use zibrato_core::frame::Row;

use crate::broker::Broker;
use crate::metrics::METRICS;
use crate::shared::Shared;
use crate::{info, own};

/// The broker from before it listens until it ends.
#[derive(Default)]
pub(crate) struct Admin {
    liveness: OnceLock<Liveness>,
    shared: OnceLock<Arc<Shared>>,
    stops: AtomicBool,
}

impl Admin {
    /// It listens.
    pub(crate) fn bound(&self, broker: &Broker) {
        let shared = broker.shared();
        // There is one broker, so they are set once.
        let _ = self.liveness.set(shared.liveness.clone());
        let _ = self.shared.set(shared);
    }

    /// It was told to end.
    pub(crate) fn stops(&self) {
        self.stops.store(true, Relaxed);
    }
}

impl Part for Admin {
    fn troubles(&self) -> Vec<String> {
        self.liveness.get().map(Liveness::stuck).unwrap_or_default()
    }

    fn lacks(&self) -> Vec<String> {
        let starts = self.shared.get().is_none();
        let starts = starts.then_some("the state is being read, and no socket listens yet");
        let stops = self.stops.load(Relaxed).then_some("the broker is about to end");
        let fails = self.shared.get().is_some_and(|shared| shared.disk_fails());
        let fails =
            fails.then_some("the state file cannot be written, and programs that end are not acknowledged");
        starts.into_iter().chain(stops).chain(fails).map(String::from).collect()
    }

    fn metrics(&self) -> Vec<Row> {
        self.shared.get().map(|shared| own::rows(shared)).unwrap_or_default()
    }

    fn help(&self) -> Help {
        METRICS
    }

    fn status(&self) -> String {
        self.shared.get().map_or_else(|| "{}".into(), |shared| info::json(shared))
    }
}
