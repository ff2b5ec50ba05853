use smallvec::SmallVec;
use zibrato_core::frame::Kind;
use zibrato_core::level;
use zibrato_core::registry::{Counter, Distribution, Gauge, MetricSpec, TRACE, Timer, Updown};

/// A metric whose name, level, source or tags are known only at run time, on the way to its handle.
///
/// Getting a handle looks the metric up among those that this thread has asked for before, which takes some tens of
/// nanoseconds; the first time it takes a lock. A handle that is kept costs next to nothing.
///
/// ```
/// let hits = zibrato::counter("hits").level("debug").tag("host", "www.example.org").handle();
/// for _ in 0..3 {
///     hits.add(1);
/// }
/// ```
#[derive(Debug, Clone)]
#[must_use = "this names a metric; call `handle` to measure"]
pub struct Named<'a, H> {
    spec: MetricSpec<'static>,
    name: &'a str,
    level: &'a str,
    source: Option<&'a str>,
    tags: SmallVec<[(&'a str, &'a str); 4]>,
    make: fn(&MetricSpec<'_>) -> H,
}

impl<'a, H> Named<'a, H> {
    fn new(name: &'a str, kind: Kind, make: fn(&MetricSpec<'_>) -> H) -> Self {
        let spec = MetricSpec { level: "", kind, name: "", source: None, tags: &[], statistics: false };
        Named { spec, name, level: level::DEFAULT, source: None, tags: SmallVec::new(), make }
    }

    /// Its level, `info` unless set.
    pub fn level(mut self, level: &'a str) -> Self {
        self.level = level;
        self
    }

    /// Its source, that of the process unless set.
    pub fn source(mut self, source: &'a str) -> Self {
        self.source = Some(source);
        self
    }

    /// One more tag; of two with one name the later one stays.
    pub fn tag(mut self, name: &'a str, value: &'a str) -> Self {
        self.tags.push((name, value));
        self
    }

    /// Marks the metric for tracing: whenever it has changed, every hop to the last backend tells of it.
    pub fn trace(mut self) -> Self {
        self.tags.insert(0, TRACE);
        self
    }

    /// The handle. It never fails: a name, source or tag that cannot be used leads to the metric
    /// `zibrato.bad_name`, and what passes the limit on metrics to `zibrato.overflow`.
    pub fn handle(self) -> H {
        let (name, level, source) = (self.name, self.level, self.source);
        (self.make)(&MetricSpec { name, level, source, tags: &self.tags, ..self.spec })
    }
}

impl Named<'_, Gauge> {
    /// Keeps count and sum since the start, and the extremes of each interval, beside the last value. Setting the
    /// gauge then costs a few atomic read-modify-writes instead of one store.
    pub fn with_statistics(mut self) -> Self {
        self.spec.statistics = true;
        self
    }
}

/// A counter by a name known at run time.
pub fn counter(name: &str) -> Named<'_, Counter> {
    Named::new(name, Kind::Counter, Counter::of)
}

/// An updown counter by a name known at run time.
pub fn updown(name: &str) -> Named<'_, Updown> {
    Named::new(name, Kind::Updown, Updown::of)
}

/// A timer by a name known at run time.
///
/// ```
/// let timer = zibrato::timer("job").tag("queue", "mail").handle();
/// timer.time(|| std::thread::yield_now());
/// timer.record(std::time::Duration::from_millis(12));
/// ```
pub fn timer(name: &str) -> Named<'_, Timer> {
    Named::new(name, Kind::Timer, Timer::of)
}

/// A distribution by a name known at run time.
pub fn distribution(name: &str) -> Named<'_, Distribution> {
    Named::new(name, Kind::Distribution, Distribution::of)
}

/// A gauge by a name known at run time.
pub fn gauge(name: &str) -> Named<'_, Gauge> {
    Named::new(name, Kind::Gauge, Gauge::of)
}
