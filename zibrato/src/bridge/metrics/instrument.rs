use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use metrics::{CounterFn, GaugeFn, HistogramFn, Key};

use super::absolute::{Absolute, Absolutes};
use crate::{Counter, Distribution, Gauge};

/// What one thread's calls of a macro lead to.
#[derive(Debug)]
pub(super) struct Instrument {
    measure: Measure,
    /// Whether it was asked for since this was last looked at.
    used: AtomicBool,
}

#[derive(Debug)]
enum Measure {
    Counter(Settable),
    Gauge(Gauge),
    Histogram(Distribution),
    /// A rule says that it is not measured.
    Nothing,
}

/// A counter, and how to set it.
#[derive(Debug)]
struct Settable {
    counter: Counter,
    level: String,
    key: Key,
    all: Arc<Absolutes>,
    absolute: OnceLock<Option<Arc<Absolute>>>,
}

/// Which of the three things that `metrics` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Instrument {
    /// The instrument of a key at a level; without a level it measures nothing.
    pub(super) fn new(kind: Kind, key: &Key, level: Option<&str>, all: &Arc<Absolutes>) -> Self {
        let measure = level.map_or(Measure::Nothing, |level| Measure::new(kind, key, level, all));
        Instrument { measure, used: AtomicBool::new(true) }
    }

    /// Notes that it was asked for.
    #[inline]
    pub(super) fn mark_used(&self) {
        if !self.used.load(Relaxed) {
            self.used.store(true, Relaxed);
        }
    }

    /// Whether it was asked for since this was last called.
    pub(super) fn take_used(&self) -> bool {
        self.used.swap(false, Relaxed)
    }
}

impl Measure {
    fn new(kind: Kind, key: &Key, level: &str, all: &Arc<Absolutes>) -> Self {
        let mut tags: Vec<(&str, &str)> = Vec::with_capacity(key.labels().len());
        for label in key.labels() {
            tags.retain(|(name, _)| *name != label.key());
            if !label.value().is_empty() {
                tags.push((label.key(), label.value()));
            }
        }
        macro_rules! handle {
            ($named:path) => {
                tags.iter().fold($named(key.name()).level(level), |named, (n, v)| named.tag(n, v)).handle()
            };
        }
        match kind {
            Kind::Counter => Measure::Counter(Settable {
                counter: handle!(crate::counter),
                level: level.into(),
                key: key.to_retained(),
                all: all.clone(),
                absolute: OnceLock::new(),
            }),
            Kind::Gauge => Measure::Gauge(handle!(crate::gauge)),
            Kind::Histogram => Measure::Histogram(handle!(crate::distribution)),
        }
    }
}

impl Settable {
    fn set(&self, value: u64) {
        match self.absolute.get_or_init(|| self.all.of(&self.key, &self.level, &self.counter)) {
            Some(absolute) => absolute.set(value),
            // There are more than can be remembered: this counts a refusal.
            None => self.counter.add(f64::NAN),
        }
    }
}

impl CounterFn for Instrument {
    #[inline]
    fn increment(&self, value: u64) {
        if let Measure::Counter(settable) = &self.measure {
            settable.counter.add(value);
        }
    }

    fn absolute(&self, value: u64) {
        if let Measure::Counter(settable) = &self.measure {
            settable.set(value);
        }
    }
}

impl GaugeFn for Instrument {
    fn increment(&self, value: f64) {
        if let Measure::Gauge(gauge) = &self.measure {
            gauge.add(value);
        }
    }

    fn decrement(&self, value: f64) {
        if let Measure::Gauge(gauge) = &self.measure {
            gauge.add(-value);
        }
    }

    fn set(&self, value: f64) {
        if let Measure::Gauge(gauge) = &self.measure {
            gauge.set(value);
        }
    }
}

impl HistogramFn for Instrument {
    #[inline]
    fn record(&self, value: f64) {
        if let Measure::Histogram(distribution) = &self.measure {
            distribution.record(value);
        }
    }
}
