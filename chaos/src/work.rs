//! What applications measure. It follows from a seed and the number of the batch, so that a ledger need not say more than
//! which batches there were.

use std::collections::BTreeMap;
use std::time::Duration;

use zibrato_core::frame::Kind;

use crate::random::Random;

/// A metric without its source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Metric {
    /// Its level.
    pub level: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its only tag, if it has one.
    pub tag: Option<(&'static str, String)>,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Of what.
    pub metric: Metric,
    /// In steps of [`step`].
    pub steps: i64,
    /// Whether the metric is retired afterwards, to begin anew the next time.
    pub retire: bool,
}

/// In what unit values of a name are whole numbers: everything that is measured here is a multiple of it, so that sums can
/// be compared exactly.
pub fn step(name: &str) -> f64 {
    match name {
        "chaos.share" | "chaos.sizes" | "chaos.pressure" => 0.25,
        // Milliseconds, told in seconds.
        "chaos.time" | "chaos.wait" => 0.001,
        _ => 1.0,
    }
}

/// The only gauge.
pub const GAUGE: &str = "chaos.heat";

/// Which counters there are that only applications with many have.
const MANY: u64 = 1_500;

/// What a batch measures. Batches with `many` go over so many counters of a level of their own that sets of it are not
/// always complete, and come in parts.
pub fn batch(seed: u64, number: u64, many: bool) -> Vec<Sample> {
    let mut random = Random::new(seed ^ number.wrapping_mul(0x9e37_79b9), "batch");
    let mut samples = Vec::with_capacity(16);
    let mut add = |level, kind, name: &str, tag: Option<(&'static str, String)>, steps: i64| {
        let metric = Metric { level, kind, name: name.into(), tag };
        samples.push(Sample { metric, steps, retire: false });
    };
    let signed = |random: &mut Random| random.within(0, 80) as i64 - 40;
    let route = *random.one(&["a", "b", "c"]);
    add("info", Kind::Counter, "chaos.calls", None, random.within(1, 20) as i64);
    add(
        "info",
        Kind::Counter,
        "chaos.bytes",
        Some(("route", route.into())),
        random.within(0, 1 << 20) as i64,
    );
    add("info", Kind::Counter, "chaos.share", None, random.within(1, 9) as i64);
    add("info", Kind::Updown, "chaos.seats", None, signed(&mut random));
    add("debug", Kind::Updown, "chaos.pressure", None, signed(&mut random));
    add("info", Kind::Counter, "chaos.both", None, 1);
    add("error", Kind::Counter, "chaos.both", None, 2);
    add("info", Kind::Timer, "chaos.wait", None, random.within(1, 30_000) as i64);
    add("debug", Kind::Timer, "chaos.time", Some(("route", route.into())), random.within(1, 900) as i64);
    add("info", Kind::Distribution, "chaos.sizes", None, random.within(0, 4_000) as i64);
    if random.chance(0.1) {
        add("error", Kind::Counter, "chaos.failures", None, 1);
    }
    add("info", Kind::Gauge, GAUGE, None, signed(&mut random));
    if many {
        for _ in 0..20 {
            let name = format!("chaos.many.{}", random.within(1, MANY));
            add("many", Kind::Counter, &name, None, random.within(1, 5) as i64);
        }
    }
    let session = random.within(1, 3).to_string();
    add("info", Kind::Counter, "chaos.session", Some(("number", session)), random.within(1, 9) as i64);
    if let Some(last) = samples.last_mut() {
        last.retire = random.chance(0.3);
    }
    samples
}

/// Measures it.
pub fn measure(sample: &Sample) {
    let Metric { level, kind, name, tag } = &sample.metric;
    let steps = sample.steps;
    let value = steps as f64 * step(name);
    let tagged = tag.as_ref().map(|(name, value)| (*name, value.as_str()));
    match (*kind, name.as_str()) {
        (Kind::Counter, "chaos.calls") => (0..steps).for_each(|_| zibrato::count!("chaos.calls")),
        (Kind::Counter, "chaos.share") => zibrato::count!("chaos.share", value),
        (Kind::Counter, name) => {
            let named = zibrato::counter(name).level(level);
            let handle = match tagged {
                Some((name, value)) => named.tag(name, value).handle(),
                None => named.handle(),
            };
            handle.add(steps.unsigned_abs());
            if sample.retire {
                handle.retire();
            }
        }
        (Kind::Updown, "chaos.seats") => zibrato::updown!("chaos.seats", steps),
        (Kind::Updown, name) => zibrato::updown(name).level(level).handle().add(value),
        (Kind::Timer, "chaos.wait") => {
            zibrato::timing!("chaos.wait", Duration::from_millis(steps.unsigned_abs()));
        }
        (Kind::Timer, name) => {
            let named = zibrato::timer(name).level(level);
            let handle = match tagged {
                Some((name, value)) => named.tag(name, value).handle(),
                None => named.handle(),
            };
            handle.record(Duration::from_millis(steps.unsigned_abs()));
        }
        (Kind::Distribution, _) => zibrato::record!("chaos.sizes", value),
        (Kind::Gauge, _) => zibrato::gauge!("chaos.heat", value),
        (Kind::Point | Kind::Description, _) => {}
    }
}

/// A figure of a metric that adds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Figure {
    /// The total of a counter or updown counter.
    Value,
    /// How many values a timer or distribution has.
    Count,
    /// Their sum; of timers in seconds.
    Sum,
}

/// What has been measured, in [steps](step).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally(pub BTreeMap<(Metric, Figure), i64>);

impl Tally {
    /// The totals that a sample moves, as they are.
    pub fn clone_of(&self, sample: &Sample) -> Vec<((Metric, Figure), i64)> {
        let figures = match sample.metric.kind {
            Kind::Counter | Kind::Updown => &[Figure::Value][..],
            Kind::Timer | Kind::Distribution => &[Figure::Count, Figure::Sum],
            Kind::Gauge | Kind::Point | Kind::Description => &[],
        };
        let total = |key: &(Metric, Figure)| self.0.get(key).copied().unwrap_or(0);
        let keys = figures.iter().map(|figure| (sample.metric.clone(), *figure));
        keys.map(|key| (key.clone(), total(&key))).collect()
    }

    /// Adds what a batch has.
    pub fn add(&mut self, samples: &[Sample]) {
        for Sample { metric, steps, .. } in samples {
            let mut more = |figure, steps| *self.0.entry((metric.clone(), figure)).or_default() += steps;
            match metric.kind {
                Kind::Counter | Kind::Updown => more(Figure::Value, *steps),
                Kind::Timer | Kind::Distribution => {
                    more(Figure::Count, 1);
                    more(Figure::Sum, *steps);
                }
                Kind::Gauge | Kind::Point | Kind::Description => {}
            }
        }
    }
}

/// The value of a sample as histograms have it: durations in nanoseconds.
pub fn recorded(sample: &Sample) -> f64 {
    let value = sample.steps as f64 * step(&sample.metric.name);
    if sample.metric.kind == Kind::Timer { (value * 1e9).round() } else { value }
}

/// How many steps of a figure a value is; `None` where it is no whole number of them.
pub fn steps_of(name: &str, figure: Figure, value: f64) -> Option<i64> {
    whole(if figure == Figure::Count { value } else { value / step(name) })
}

/// A number of steps, where it is a whole one but for how servers round.
pub fn whole(steps: f64) -> Option<i64> {
    ((steps - steps.round()).abs() < 0.05).then_some(steps.round() as i64)
}
