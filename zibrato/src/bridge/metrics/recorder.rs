use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Level, Metadata, SharedString, Unit};
use zibrato_core::limits;

use super::absolute::Absolutes;
use super::cache::{self, Asked};
use super::instrument::{Instrument, Kind};
use super::unit::ucum;
use crate::bridge::BridgeError;
use crate::bridge::append_map::AppendMap;
use crate::bridge::rules::{By, Rules, rule_methods};

/// What can be said about a [`Recorder`]: at which level each metric is measured.
///
/// A metric has the level that its call says (`info`, where it says none). Rules change that, by the metric's target,
/// which is the path of the calling module, or by its name. In their patterns `*` stands for any characters, and
/// `hyper::*` is for the module `hyper` itself, too. Of several rules that match the last one counts.
#[derive(Debug, Clone, Default)]
#[must_use = "nothing is recorded before `install`"]
pub struct Builder {
    rules: Rules,
}

/// Starts saying how to record what comes through `metrics`.
///
/// ```no_run
/// # use zibrato::bridge::{BridgeError, metrics::recorder};
/// recorder().level("hyper::*", "debug").name_level("db.*", "trace").default_level("info").install()?;
/// # Ok::<(), BridgeError>(())
/// ```
pub fn recorder() -> Builder {
    Builder::default()
}

impl Builder {
    rule_methods!("metrics", "metrics");

    /// The recorder, for whoever puts it under layers or uses it with `metrics::with_local_recorder`.
    ///
    /// # Errors
    /// When a level's label cannot be used.
    pub fn build(self) -> Result<Recorder, BridgeError> {
        static RECORDERS: AtomicU64 = AtomicU64::new(0);
        Ok(Recorder(Arc::new(Inner {
            number: RECORDERS.fetch_add(1, Relaxed),
            rules: self.rules.checked()?,
            absolutes: Arc::new(Absolutes::new()),
            descriptions: AppendMap::new(limits::METRICS),
        })))
    }

    /// Makes it the recorder of the program, from here on and for good.
    ///
    /// # Errors
    /// When a level's label cannot be used, or the program has a recorder already.
    pub fn install(self) -> Result<(), BridgeError> {
        metrics::set_global_recorder(self.build()?).map_err(|_| BridgeError::AlreadyInstalled)
    }
}

/// Records what comes through `metrics`; see the [module](crate::bridge::metrics). Clones are the same recorder.
#[derive(Debug, Clone)]
pub struct Recorder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    number: u64,
    rules: Rules,
    absolutes: Arc<Absolutes>,
    descriptions: AppendMap<(KeyName, Option<Unit>, SharedString), ()>,
}

impl Recorder {
    #[inline]
    fn register(&self, kind: Kind, key: &Key, metadata: &Metadata<'_>) -> Option<Arc<Instrument>> {
        let inner = &*self.0;
        let asked = Asked { recorder: inner.number, kind, key, metadata };
        cache::instrument(asked, || {
            let own = level_of(*metadata.level());
            let level = inner.rules.level(metadata.target(), Some(key.name()), own);
            Instrument::new(kind, key, level, &inner.absolutes)
        })
    }

    /// Tells the registry what a metric means, once: macros that say it do so at every call.
    fn describe(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        let hash = Key::from_name(name.clone()).get_hash();
        let is = |(n, u, h): &(KeyName, Option<Unit>, SharedString)| *n == name && *u == unit && *h == help;
        // Of more descriptions than there may be metrics the rest is left out, as in the registry.
        self.0.descriptions.get_or_insert(hash, is, || {
            crate::describe(name.as_str(), unit.map_or("", ucum), &help);
            ((name.to_retained(), unit, help.clone()), ())
        });
    }
}

/// The level of the same name.
fn level_of(level: Level) -> &'static str {
    match level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::WARN => "warn",
        Level::ERROR => "error",
        _ => "info",
    }
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.describe(key, unit, description);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.describe(key, unit, description);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.describe(key, unit, description);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.register(Kind::Counter, key, metadata).map_or_else(Counter::noop, Counter::from_arc)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.register(Kind::Gauge, key, metadata).map_or_else(Gauge::noop, Gauge::from_arc)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.register(Kind::Histogram, key, metadata).map_or_else(Histogram::noop, Histogram::from_arc)
    }
}
