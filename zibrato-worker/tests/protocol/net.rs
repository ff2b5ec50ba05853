//! The network: messages are lost, doubled, delayed and overtaken, and nobody knows which.

use std::collections::BTreeMap;

use zibrato_core::ask::Message;
use zibrato_core::frame::decode;
use zibrato_core::level::Levels;

use crate::plan::{ACTIVE, Plan};
use crate::random::{Random, hash};

/// Nanoseconds of a tick.
pub(crate) const SECOND: u64 = 1_000_000_000;
/// What all clocks show at tick 0, but for their skew.
const EPOCH: u64 = 1_000_000;

/// The time of a clock, in nanoseconds.
pub(crate) fn clock(tick: u64, skew: i64) -> u64 {
    (EPOCH as i64 + tick as i64 + skew) as u64 * SECOND
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Channel {
    Push,
    Publish,
    Ask,
}

/// A connection of a worker in one of its lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Life {
    pub(crate) group: usize,
    pub(crate) index: usize,
    pub(crate) life: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Peer {
    App(usize),
    Worker(Life),
}

#[derive(Debug, Clone)]
pub(crate) enum Packet {
    /// From an application to a broker.
    Push { broker: usize, topic: Vec<u8>, frame: Vec<u8> },
    /// From a broker to a worker.
    Published { to: Life, broker: usize, topic: Vec<u8>, frame: Vec<u8> },
    /// The sign of life of a broker.
    Beat { to: Life, broker: usize, boot: [u8; 16] },
    /// To the ask socket of a broker.
    Asked { broker: usize, from: Peer, parts: Vec<Vec<u8>> },
    /// From there.
    Answered { to: Peer, broker: usize, parts: Vec<Vec<u8>> },
}

impl Packet {
    fn channel(&self) -> Channel {
        match self {
            Packet::Push { .. } => Channel::Push,
            Packet::Published { .. } | Packet::Beat { .. } => Channel::Publish,
            Packet::Asked { .. } | Packet::Answered { .. } => Channel::Ask,
        }
    }

    /// What decides its fate: all of it but what depends on the order in memory.
    fn identity(&self) -> u64 {
        match self {
            Packet::Push { broker, topic, frame } => hash((1, broker, topic, frame)),
            Packet::Published { to, broker, topic, frame } => hash((2, to, broker, topic, frame)),
            Packet::Beat { to, broker, .. } => hash((3, to, broker)),
            Packet::Asked { broker, from, parts } => hash((4, broker, from, parts)),
            Packet::Answered { to, broker, parts } => match Message::decode(parts) {
                Ok(Message::Kept { id, topic, frame, .. }) => hash((5, to, broker, id, topic, frame)),
                _ => hash((6, to, broker, parts)),
            },
        }
    }
}

/// One line of what happened: when, where, what, and to which application.
pub(crate) type Line = (u64, String, String, Option<usize>);

pub(crate) struct Net {
    pub(crate) now: u64,
    plan: Plan,
    queue: BTreeMap<u64, Vec<(u64, Packet)>>,
    /// The workers that listen, and to what.
    pub(crate) subscribers: BTreeMap<(usize, usize), (Life, Levels)>,
    pub(crate) trace: Option<Vec<Line>>,
}

impl Net {
    pub(crate) fn new(plan: Plan, trace: bool) -> Net {
        Net {
            now: 0,
            plan,
            queue: BTreeMap::new(),
            subscribers: BTreeMap::new(),
            trace: trace.then(Vec::new),
        }
    }

    pub(crate) fn faults(&self) -> bool {
        self.now < ACTIVE
    }

    pub(crate) fn log(&mut self, who: impl Fn() -> String, what: impl Fn() -> String, app: Option<usize>) {
        if let Some(trace) = &mut self.trace {
            trace.push((self.now, who(), what(), app));
        }
    }

    pub(crate) fn send(&mut self, packet: Packet) {
        let channel = packet.channel();
        let identity = packet.identity();
        let mut random = Random::new((self.plan.seed, self.now, channel, identity));
        let times = if self.faults() && random.chance(self.plan.twice) { 2 } else { 1 };
        let outages = match channel {
            Channel::Push => &self.plan.outages.push,
            Channel::Publish => &self.plan.outages.publish,
            Channel::Ask => &self.plan.outages.ask,
        };
        let cut = outages.iter().any(|(from, to)| (*from..*to).contains(&self.now));
        for _ in 0..times {
            let lost = self.faults() && (cut || random.chance(self.plan.loss));
            let delay = 1 + random.below(self.plan.delay + 1);
            let order = random.next();
            if lost {
                if self.trace.is_some() && !matches!(packet, Packet::Beat { .. }) {
                    let (what, app) = describe(&packet);
                    self.log(|| format!("{channel:?}").to_lowercase(), || format!("LOST {what}"), app);
                }
                continue;
            }
            self.queue.entry(self.now + delay).or_default().push((order, packet.clone()));
        }
    }

    /// What arrives in this tick.
    pub(crate) fn arrivals(&mut self) -> Vec<Packet> {
        let mut packets = self.queue.remove(&self.now).unwrap_or_default();
        packets.sort_by_key(|(order, packet)| (*order, packet.identity()));
        packets.into_iter().map(|(_, packet)| packet).collect()
    }
}

/// The application of an instance: simulated instances have their numbers for ids.
pub(crate) fn app_of(instance: zibrato_core::frame::InstanceId) -> usize {
    usize::from(instance.0[0])
}

/// A packet for people.
pub(crate) fn describe(packet: &Packet) -> (String, Option<usize>) {
    let ask = |parts: &[Vec<u8>]| match Message::decode(parts) {
        Ok(Message::Hand { topic, frame }) => {
            let (what, app) = describe_frame(&topic, &frame);
            (format!("hand {what}"), app)
        }
        Ok(Message::Kept { id, held, topic, frame, .. }) => {
            let (what, app) = describe_frame(&topic, &frame);
            (format!("answer {id}: held for {} {what}", held / SECOND), app)
        }
        Ok(Message::Ack { instance, level, sequence }) => {
            (format!("ack app{}/{level} {sequence}", app_of(instance)), Some(app_of(instance)))
        }
        Ok(Message::Ask { id, cursor, talking, .. }) => (
            format!("ask {id} {:?}{}", cursor.map(|c| c.position), if talking { " talking" } else { "" }),
            None,
        ),
        Ok(Message::Done { id, count, cursor }) => {
            (format!("answer {id}: done, {count}, position {}", cursor.position), None)
        }
        other => (format!("{other:?}"), None),
    };
    match packet {
        Packet::Push { broker, topic, frame } => {
            let (what, app) = describe_frame(topic, frame);
            (format!("{what} to broker{broker}"), app)
        }
        Packet::Published { to, broker, topic, frame } => {
            let (what, app) = describe_frame(topic, frame);
            (format!("{what} from broker{broker} to worker{}.{}", to.group, to.index), app)
        }
        Packet::Beat { .. } => ("beat".into(), None),
        Packet::Asked { broker, parts, .. } => {
            let (what, app) = ask(parts);
            (format!("{what} to broker{broker}"), app)
        }
        Packet::Answered { to, broker, parts } => {
            let (what, app) = ask(parts);
            (format!("{what} from broker{broker} to {to:?}"), app)
        }
    }
}

fn describe_frame(topic: &[u8], frame: &[u8]) -> (String, Option<usize>) {
    let Ok(decoded) = decode(frame) else { return ("bad frame".into(), None) };
    let head = decoded.frame.head;
    let rows: Vec<String> = decoded
        .frame
        .rows
        .iter()
        .map(|row| {
            let state = match &row.state {
                zibrato_core::frame::State::Total(total) => total.to_string(),
                zibrato_core::frame::State::Spread(spread) => format!("n={}", spread.histogram.count()),
                zibrato_core::frame::State::Gauge(gauge) => gauge.value.to_string(),
                other => format!("{other:?}"),
            };
            format!("{}@{}={state}", row.key.name, (row.key.born / SECOND) as i64 - EPOCH as i64)
        })
        .collect();
    let app = app_of(head.instance);
    let text = format!(
        "app{app}/{} set {} (base {}, flags {}, part {}/{}, age {}) {}",
        String::from_utf8_lossy(topic).trim_end_matches('|'),
        head.sequence,
        head.base,
        head.flags.0,
        head.part + 1,
        head.parts,
        head.age() / SECOND,
        rows.join(" ")
    );
    (text, Some(app))
}
