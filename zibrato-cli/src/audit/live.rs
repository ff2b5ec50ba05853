//! What workers that run tell brokers of themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use zibrato_core::level::OWN;

use super::sent::Sent;
use crate::number::count;

/// They tell every five seconds; who was not heard for so long does not run any more.
const SILENT: Duration = Duration::from_secs(16);
const PREFIX: &str = "zibrato.worker.";
/// Counters that rise where totals do not become settled, and what they mean.
const TROUBLES: [(&str, &str); 9] = [
    ("frames.beyond", "frames of programs for which it had no room (--max-instances, --max-bytes)"),
    ("rows.beyond", "rows of programs that hold their share already (--max-bytes)"),
    ("frames.old", "frames that a broker had held for too long"),
    ("bad.frames", "frames that it could not read"),
    ("bad.rows", "rows that it could not read"),
    ("backwards", "totals that fell, and must not"),
    ("outbox.full", "times at which its outbox was full"),
    ("state.failures", "times at which its state directory could not be used"),
    ("brokers.refusals", "refused connections to brokers"),
];

/// A worker that runs.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    /// Where it runs.
    pub(crate) source: String,
    /// Its name, where it has one.
    pub(crate) worker: Option<String>,
    /// Its own counters, by name.
    pub(crate) counters: BTreeMap<String, f64>,
}

impl Live {
    /// The workers of a backend that run, as far as brokers know. Which state directory is whose they do not tell.
    pub(crate) fn of(sent: &Sent, backend: &str) -> Vec<Live> {
        let origins = sent.0.iter().filter(|((_, level), origin)| {
            level == OWN && !origin.has_ended && Duration::from_nanos(origin.held) < SILENT
        });
        let live = origins.filter_map(|(_, origin)| {
            let tag = |name| {
                move |key: &zibrato_core::frame::Key| {
                    key.tags.iter().find(|(tag, _)| *tag == name).map(|(_, value)| value.to_string())
                }
            };
            let own =
                || origin.metrics.iter().filter(|(key, _)| tag("backend")(key).as_deref() == Some(backend));
            let (first, _) = own().next()?;
            let mut counters = BTreeMap::new();
            for (key, total) in own() {
                let Some(name) = key.name.strip_prefix(PREFIX) else { continue };
                *counters.entry(name.to_string()).or_insert(0.0) += total.amount.counted.value();
            }
            Some(Live { source: origin.source.clone(), worker: tag("worker")(first), counters })
        });
        live.collect()
    }

    fn counter(&self, name: &str) -> f64 {
        self.counters.get(name).copied().unwrap_or(0.0)
    }

    /// What keeps it from settling, or did.
    pub(crate) fn troubles(&self) -> Vec<String> {
        let risen = TROUBLES.iter().filter(|(name, _)| self.counter(name) > 0.0);
        risen.map(|(name, what)| format!("{} {what}", count(self.counter(name)))).collect()
    }

    /// All of it in one line.
    pub(crate) fn line(&self, backend: &str) -> String {
        let name =
            self.worker.as_deref().map_or_else(|| backend.into(), |worker| format!("{backend}/{worker}"));
        let (frames, gaps) = (count(self.counter("frames")), count(self.counter("gaps")));
        let troubles: String = self.troubles().iter().map(|trouble| format!("; {trouble}")).collect();
        format!("{name} on {} tells: {frames} frames merged, {gaps} sets passed over{troubles}", self.source)
    }
}
