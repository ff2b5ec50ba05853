//! Applications: made-up readings, the real publisher, and last sets that are handed over until acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zibrato_core::ask::Message;
use zibrato_core::frame::{Gauge, InstanceId, Kind, Span, Spread, State, Tags, Total};
use zibrato_core::histogram::Histogram;
use zibrato_core::level::topic;
use zibrato_core::publish::{Publisher, Set};
use zibrato_core::registry::{Id, Reading};

use crate::net::{Net, Packet, Peer, clock};
use crate::plan::{ACTIVE, AppPlan, DEBUG, Fate, INFO, Plan};
use crate::random::Random;

/// How often, and how far apart, what is handed over is repeated after the end.
const TRIES: u64 = 6;
const EVERY: u64 = 3;

/// The values that timers take; each has a bucket of its own.
pub(crate) const VALUES: [f64; 4] = [1e3, 5e3, 2e4, 1e6];

/// What was measured, as numbers that can be added and subtracted: for a counter twice its total (there are halves),
/// for a timer the sum and how often each of [`VALUES`] occurred.
pub(crate) type Amount = Vec<i64>;

pub(crate) fn kind_of(metric: &str) -> Kind {
    match metric.as_bytes()[0] {
        b'u' => Kind::Updown,
        b't' => Kind::Timer,
        b'g' => Kind::Gauge,
        _ => Kind::Counter,
    }
}

pub(crate) fn zero(metric: &str) -> Amount {
    vec![0; if kind_of(metric) == Kind::Timer { 1 + VALUES.len() } else { 1 }]
}

pub(crate) fn plus(a: &Amount, b: &Amount) -> Amount {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

pub(crate) fn minus(a: &Amount, b: &Amount) -> Amount {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// A metric from its birth until it was retired.
#[derive(Debug)]
pub(crate) struct Lifetime {
    pub(crate) born: u64,
    /// The sequence of the set that retired it.
    pub(crate) retired: Option<u64>,
    pub(crate) total: Amount,
    /// Of a gauge.
    pub(crate) last: (f64, u64),
    extremes: Option<Span>,
}

/// A name and the number of the life of the metric.
pub(crate) type Name = (String, usize);

/// A set, as the judge remembers it.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) complete: bool,
    pub(crate) totals: BTreeMap<Name, Amount>,
}

#[derive(Debug)]
pub(crate) struct Level {
    pub(crate) start: u64,
    pub(crate) metrics: BTreeMap<String, Vec<Lifetime>>,
    pub(crate) sets: BTreeMap<u64, Published>,
}

impl Level {
    fn live(&self) -> impl Iterator<Item = (&String, usize, &Lifetime)> {
        self.metrics.iter().filter_map(|(name, lives)| {
            let last = lives.last().filter(|life| life.retired.is_none())?;
            Some((name, lives.len() - 1, last))
        })
    }

    fn totals(&self) -> BTreeMap<Name, Amount> {
        self.live().map(|(name, life, m)| ((name.clone(), life), m.total.clone())).collect()
    }
}

/// A set that is handed over, and which brokers have acknowledged it.
#[derive(Debug)]
struct Parcel {
    set: Set,
    acknowledged: BTreeSet<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    New,
    Live,
    Ending,
    /// Some broker has acknowledged everything.
    Ended,
    Spilled,
    /// Nobody has acknowledged everything, and it was not spilled.
    Unheard,
    Crashed,
}

pub(crate) struct App {
    pub(crate) index: usize,
    pub(crate) plan: AppPlan,
    pub(crate) phase: Phase,
    pub(crate) levels: BTreeMap<&'static str, Level>,
    /// Whether its end was delivered from a spill directory.
    pub(crate) was_spilled: bool,
    /// Level and sequence of the sets that some broker has acknowledged.
    pub(crate) acknowledged: BTreeSet<(String, u64)>,
    skew: i64,
    shared: bool,
    spill: bool,
    random: Random,
    publisher: Publisher,
    parcels: Vec<Parcel>,
    tries: u64,
    next: u64,
    brokers: usize,
}

impl App {
    pub(crate) fn new(index: usize, plan: &Plan) -> App {
        let mut random = Random::new(("app", plan.seed, index));
        let mut id = [7; 16];
        id[0] = index as u8;
        let source = if plan.shared { "all".to_string() } else { format!("app{index}") };
        App {
            index,
            plan: plan.apps[index].clone(),
            phase: Phase::New,
            levels: BTreeMap::new(),
            was_spilled: false,
            acknowledged: BTreeSet::new(),
            skew: random.between(-plan.skew, plan.skew),
            shared: plan.shared,
            spill: plan.spill,
            publisher: Publisher::new(&source)
                .with_instance(InstanceId(id))
                .with_sizes(plan.frame, plan.always_complete),
            random,
            parcels: Vec::new(),
            tries: 0,
            next: 0,
            brokers: plan.brokers,
        }
    }

    /// Whether every total that was recorded has to arrive.
    pub(crate) fn is_exact(&self) -> bool {
        match self.phase {
            Phase::Live | Phase::Ended => true,
            Phase::Ending => self.is_acknowledged(),
            _ => false,
        }
    }

    fn is_acknowledged(&self) -> bool {
        self.parcels.iter().all(|parcel| !parcel.acknowledged.is_empty())
    }

    fn say(&self, net: &mut Net, what: &str) {
        net.log(|| format!("app{}", self.index), || what.to_string(), Some(self.index));
    }

    /// Counts `n` on a metric; a timer takes its `n`th value.
    pub(crate) fn count(&mut self, now: u64, level: &'static str, metric: &str, n: i64) {
        let Phase::Live = self.phase else { return };
        let time = clock(now, self.skew);
        let level = self.levels.entry(level).or_insert_with(|| Level {
            start: now,
            metrics: BTreeMap::new(),
            sets: BTreeMap::new(),
        });
        let lives = level.metrics.entry(metric.to_string()).or_default();
        if lives.last().is_none_or(|life| life.retired.is_some()) {
            lives.push(Lifetime {
                born: time,
                retired: None,
                total: zero(metric),
                last: (0.0, 0),
                extremes: None,
            });
        }
        let Some(life) = lives.last_mut() else { return };
        match kind_of(metric) {
            Kind::Timer => {
                let value = VALUES[n as usize % VALUES.len()];
                life.total[0] += value as i64;
                life.total[1 + n as usize % VALUES.len()] += 1;
                let old = life.extremes.unwrap_or(Span { min: value, max: value });
                life.extremes = Some(Span { min: old.min.min(value), max: old.max.max(value) });
            }
            Kind::Gauge => life.last = (n as f64, time),
            _ => life.total[0] += n,
        }
    }

    fn count_by_chance(&mut self, now: u64) {
        for level in [INFO, DEBUG] {
            if level == DEBUG && now < self.plan.start + self.plan.late {
                continue;
            }
            for _ in 0..self.random.pick(&[0, 0, 1, 2]) {
                let metric = self.random.pick(&["m0", "m1", "m2", "f", "u", "t", "g", "r"]);
                let n = match metric {
                    "u" => self.random.pick(&[-6, 10]),
                    "f" => self.random.between(1, 9),
                    "m0" | "m1" | "m2" | "r" => 2 * self.random.between(1, 9),
                    _ => self.random.between(0, 9),
                };
                self.count(now, level, metric, n);
            }
        }
    }

    fn id(&self, level: &str, metric: &str) -> Arc<Id> {
        // Backends do not store levels: only the names tell them apart.
        let name = if self.shared { metric.to_string() } else { format!("{metric}.{level}") };
        let kind = kind_of(metric);
        Arc::new(Id { level: level.into(), kind, name: name.into(), source: None, tags: Tags::none() })
    }

    fn reading(&self, level: &str, metric: &str, life: &Lifetime) -> Reading {
        let state = match kind_of(metric) {
            Kind::Timer => {
                let mut histogram = Histogram::default();
                for (value, times) in VALUES.iter().zip(&life.total[1..]) {
                    (0..*times).for_each(|_| assert!(histogram.record(*value)));
                }
                State::Spread(Spread { sum: Total::whole(life.total[0]), span: life.extremes, histogram })
            }
            Kind::Gauge => State::Gauge(Gauge { value: life.last.0, set_at: life.last.1, statistics: None }),
            // Halves are a part of their own.
            Kind::Counter if metric == "f" => {
                State::Total(Total { whole: 0, float: life.total[0] as f64 / 2.0 })
            }
            _ => State::Total(Total::whole(life.total[0] / 2)),
        };
        Reading { id: self.id(level, metric), born: life.born, state, traced: false }
    }

    fn readings(&mut self) -> Vec<Reading> {
        let mut all = Vec::new();
        for (name, level) in &self.levels {
            all.extend(level.live().map(|(metric, _, life)| self.reading(name, metric, life)));
        }
        for life in self.levels.values_mut().flat_map(|l| l.metrics.values_mut()).flatten() {
            life.extremes = None;
        }
        all
    }

    fn remember(&mut self, set: &Set) {
        if let Some(level) = self.levels.get_mut(&*set.level) {
            let totals = level.totals();
            level.sets.insert(set.head.sequence, Published { complete: set.head.is_complete(), totals });
        }
    }

    /// Starts, when it is time.
    pub(crate) fn wake(&mut self, net: &mut Net) {
        if self.phase == Phase::New && net.now >= self.plan.start {
            self.phase = Phase::Live;
            self.say(net, "starts");
        }
    }

    pub(crate) fn tick(&mut self, net: &mut Net, retire: &[(&'static str, &'static str)]) {
        let now = net.now;
        self.wake(net);
        match self.phase {
            Phase::Live => {
                if net.faults() && self.plan.counts {
                    self.count_by_chance(now);
                }
                if now < self.plan.stop {
                    self.publish(net, retire);
                    self.repeat(net);
                } else if self.plan.fate == Fate::Crash {
                    self.phase = Phase::Crashed;
                    self.say(net, "crashes");
                } else {
                    self.finish(net);
                }
            }
            Phase::Ending if now >= self.next => self.end(net),
            Phase::Spilled if now >= ACTIVE => {
                self.was_spilled = true;
                (self.phase, self.tries, self.next) = (Phase::Ending, 0, now);
                self.parcels.retain(|parcel| parcel.acknowledged.is_empty());
            }
            _ => {}
        }
    }

    fn publish(&mut self, net: &mut Net, retire: &[(&'static str, &'static str)]) {
        let now = clock(net.now, self.skew);
        // Like the registry: what is retired is not among the readings any more.
        let mut goes: Vec<(&'static str, String)> = retire.iter().map(|(l, m)| (*l, m.to_string())).collect();
        if self.plan.retires && net.faults() && self.random.chance(0.05) {
            goes.extend(self.levels.keys().map(|level| (*level, "r".to_string())));
        }
        let mut retired = Vec::new();
        let mut gone = Vec::new();
        for (level, metric) in goes {
            let live = self.levels.get(level).and_then(|l| l.live().find(|(name, ..)| **name == metric));
            if let Some((_, number, life)) = live {
                retired.push(self.reading(level, &metric, life));
                gone.push((level, metric, number));
            }
        }
        let keep = |level: &str, metric: &str| !gone.iter().any(|(l, m, _)| *l == level && m == metric);
        let mut readings = self.readings();
        readings.retain(|reading| {
            let metric = reading.id.name.split('.').next().unwrap_or_default();
            keep(&reading.id.level, metric)
        });
        // While it is being retired it still counts as known to the judge, until the set that says so.
        for set in self.publisher.collect(readings, now) {
            self.remember(&set);
            if let Some(level) = self.levels.get_mut(&*set.level)
                && let Some(published) = level.sets.get_mut(&set.head.sequence)
            {
                published.totals.retain(|(metric, number), _| {
                    !gone.iter().any(|(l, m, n)| **l == *set.level && m == metric && n == number)
                });
            }
            for frame in set.frames(now) {
                for broker in 0..self.brokers {
                    let topic = topic(&set.level).into_bytes();
                    net.send(Packet::Push { broker, topic, frame: frame.clone() });
                }
            }
        }
        for set in self.publisher.retire(retired, now) {
            self.remember(&set);
            for (_, metric, number) in gone.iter().filter(|(l, ..)| **l == *set.level) {
                let lives = self.levels.get_mut(&*set.level).and_then(|l| l.metrics.get_mut(metric));
                if let Some(life) = lives.and_then(|lives| lives.get_mut(*number)) {
                    life.retired = Some(set.head.sequence);
                }
            }
            self.parcels.push(Parcel { set, acknowledged: BTreeSet::new() });
            self.next = net.now;
        }
    }

    /// Hands over what not every broker has acknowledged.
    fn repeat(&mut self, net: &mut Net) {
        if net.now < self.next {
            return;
        }
        self.next = net.now + EVERY;
        let now = clock(net.now, self.skew);
        for parcel in &self.parcels {
            let topic = topic(&parcel.set.level).into_bytes();
            for broker in (0..self.brokers).filter(|b| !parcel.acknowledged.contains(b)) {
                for frame in parcel.set.frames(now) {
                    let parts = Message::Hand { topic: topic.clone(), frame }.encode();
                    net.send(Packet::Asked { broker, from: Peer::App(self.index), parts });
                }
            }
        }
        if self.phase == Phase::Live {
            self.parcels.retain(|parcel| parcel.acknowledged.len() < self.brokers);
        }
    }

    fn finish(&mut self, net: &mut Net) {
        let now = clock(net.now, self.skew);
        let readings = self.readings();
        for set in self.publisher.finish(readings, now) {
            self.remember(&set);
            self.parcels.push(Parcel { set, acknowledged: BTreeSet::new() });
        }
        self.say(net, "ends");
        (self.phase, self.tries, self.next) = (Phase::Ending, 0, net.now);
        self.end(net);
    }

    fn end(&mut self, net: &mut Net) {
        // One broker that has it is enough; the others are given one more chance.
        if self.is_acknowledged() && self.tries > 1 {
            self.phase = Phase::Ended;
            return self.say(net, "exits");
        }
        if self.tries >= TRIES && !self.was_spilled {
            self.phase = if self.spill { Phase::Spilled } else { Phase::Unheard };
            return self.say(net, &format!("exits: {:?}", self.phase));
        }
        self.tries += 1;
        self.next = net.now;
        self.repeat(net);
    }

    pub(crate) fn on_answer(&mut self, broker: usize, parts: &[Vec<u8>]) {
        let Ok(Message::Ack { level, sequence, .. }) = Message::decode(parts) else { return };
        self.acknowledged.insert((level.clone(), sequence));
        for parcel in &mut self.parcels {
            if *parcel.set.level == *level && parcel.set.head.sequence == sequence {
                parcel.acknowledged.insert(broker);
            }
        }
    }
}
