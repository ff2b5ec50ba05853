//! What goes wrong, when, and where: all of it follows from the seed and the length of the run.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use crate::random::Random;

/// A part of the fleet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// A broker, by its number.
    Broker(usize),
    /// A worker, by its number.
    Worker(usize),
    /// A server behind a worker, by its number.
    Server(usize),
    /// The way from a worker to its server.
    WayToServer(usize),
    /// The way from all applications to a broker.
    WayToBroker(usize),
    /// The way from a worker to a broker.
    WayFromBroker {
        /// The worker.
        worker: usize,
        /// The broker.
        broker: usize,
    },
    /// An application, by its place.
    Application(usize),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Broker(n) => write!(f, "broker {n}"),
            Target::Worker(n) => write!(f, "worker {n}"),
            Target::Server(n) => write!(f, "server {n}"),
            Target::WayToServer(n) => write!(f, "way of worker {n} to its server"),
            Target::WayToBroker(n) => write!(f, "way of applications to broker {n}"),
            Target::WayFromBroker { worker, broker } => {
                write!(f, "way of worker {worker} to broker {broker}")
            }
            Target::Application(n) => write!(f, "application {n}"),
        }
    }
}

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Killed with KILL, and started again after a while.
    Kill,
    /// Asked to end with TERM, and started again.
    End,
    /// Stopped with STOP for seconds.
    Pause,
    /// Some messages are dropped on a way of ZeroMQ.
    Drop,
    /// Some messages come twice.
    Duplicate,
    /// All messages come late, in their order.
    Delay,
    /// Some messages come late, and so in another order.
    Reorder,
    /// All of these at once.
    Mix,
    /// Connections stay, and nothing moves on them; afterwards they are reset.
    HalfOpen,
    /// Connections stay, nothing moves on them, and afterwards it goes on.
    Stall,
    /// Nobody listens, and connections that there are get reset.
    Refuse,
    /// All connections are reset once.
    Reset,
    /// Connections carry a few hundred bytes a second, both ways.
    Slow,
    /// What is sent arrives, but the answer is lost.
    LoseAnswers,
    /// The server says that it cannot, or not now.
    Reject,
    /// The disk of the state directory is full.
    FullDisk,
    /// The state directory is read-only when its owner is started again.
    ReadOnly,
    /// The clock is stepped, by up to hours.
    Step,
    /// Its key is taken back while it runs, and allowed again after a while.
    Revoke,
}

/// One event of a schedule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// When, since the beginning.
    pub at: Duration,
    /// What.
    pub fault: Fault,
    /// Where.
    pub target: Target,
    /// For how long.
    pub lasts: Duration,
    /// By how many seconds a clock is stepped.
    pub by: i64,
}

/// Of what there is how many.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Brokers.
    pub brokers: usize,
    /// Workers, and of each which server it has, and what can be done to that.
    pub workers: Vec<(usize, ServerFaults)>,
    /// Places of applications that are to be killed.
    pub mortal: Vec<usize>,
    /// Places of all applications.
    pub applications: usize,
    /// Parts whose clock can be stepped: brokers, workers and applications.
    pub clocks: Vec<Target>,
    /// Whether disks can be made full and read-only.
    pub disks: bool,
    /// Parts whose keys can be taken back.
    pub keys: Vec<Target>,
}

/// What can be done to a worker's server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerFaults {
    /// Nothing: it is a file.
    None,
    /// It is stopped with STOP. Neither killed nor asked to end: what it has taken is on no disk, and lost then.
    Stops,
    /// It is killed and stopped: what it has accepted is on its disk.
    Dies,
    /// It can only be told to misbehave.
    Misbehaves,
}

/// How long a run is left alone at its beginning.
const CALM: Duration = Duration::from_secs(3);
/// How long a part is left alone after something has happened to it.
const REST: Duration = Duration::from_secs(3);

/// The events of a run.
pub fn schedule(seed: u64, length: Duration, shape: &Shape) -> Vec<Event> {
    let mut random = Random::new(seed, "schedule");
    let mut events = Vec::new();
    let mut busy: BTreeMap<Target, Duration> = BTreeMap::new();
    let mut at = CALM;
    while at < length {
        let event = event(&mut random, at, shape);
        let free = busy.get(&event.target).is_none_or(|until| *until + REST <= at);
        // What is begun is over by the end.
        if free && at + event.lasts < length {
            busy.insert(event.target.clone(), at + event.lasts);
            events.push(event);
        }
        at += random.millis(200, 1_400);
    }
    events.extend(revocations(seed, length, &shape.keys));
    events.sort_by_key(|event| event.at);
    events
}

/// Keys that are taken back: from numbers of their own, so that all else is as without keys.
fn revocations(seed: u64, length: Duration, of: &[Target]) -> Vec<Event> {
    let mut random = Random::new(seed, "keys");
    let mut events: Vec<Event> = Vec::new();
    let mut at = CALM;
    while at < length && !of.is_empty() {
        let target = random.one(of).clone();
        let lasts = random.millis(500, 6_000);
        let is_free = |other: &Event| other.target != target || other.at + other.lasts + REST <= at;
        if at + lasts < length && events.iter().all(is_free) {
            events.push(Event { at, fault: Fault::Revoke, target, lasts, by: 0 });
        }
        at += random.millis(1_500, 6_000);
    }
    events
}

fn event(random: &mut Random, at: Duration, shape: &Shape) -> Event {
    let workers = shape.workers.len() as u64;
    let broker = random.within(0, shape.brokers as u64 - 1) as usize;
    let worker = random.within(0, workers - 1) as usize;
    let way = if random.chance(0.5) {
        Target::WayToBroker(broker)
    } else {
        Target::WayFromBroker { worker, broker }
    };
    let messages = [Fault::Drop, Fault::Duplicate, Fault::Delay, Fault::Reorder, Fault::Mix];
    let connections = [Fault::HalfOpen, Fault::Stall, Fault::Refuse, Fault::Reset];
    let requests =
        [Fault::Refuse, Fault::Stall, Fault::Slow, Fault::LoseAnswers, Fault::Reset, Fault::Reject];
    let clock = shape.clocks.get(random.within(0, shape.clocks.len().max(1) as u64 - 1) as usize);
    let (fault, target) = match random.within(0, 99) {
        0..=9 => (Fault::Kill, Target::Broker(broker)),
        10..=14 => (Fault::Pause, Target::Broker(broker)),
        15..=24 => (Fault::Kill, Target::Worker(worker)),
        25..=28 => (Fault::End, Target::Worker(worker)),
        29..=32 => (Fault::Pause, Target::Worker(worker)),
        33..=38 => (Fault::Kill, Target::Application(*random.one(&shape.mortal))),
        39..=43 => {
            (Fault::Pause, Target::Application(random.within(0, shape.applications as u64 - 1) as usize))
        }
        44..=53 => match shape.workers[worker] {
            (server, ServerFaults::Dies) if random.chance(0.7) => (Fault::Kill, Target::Server(server)),
            (server, ServerFaults::Dies | ServerFaults::Stops) => (Fault::Pause, Target::Server(server)),
            (server, ServerFaults::Misbehaves) => (Fault::Reject, Target::Server(server)),
            (_, ServerFaults::None) => (Fault::Pause, Target::Worker(worker)),
        },
        54..=68 => (*random.one(&messages), way),
        69..=77 => (*random.one(&connections), way),
        78..=86 => {
            let fault = *random.one(&requests);
            match shape.workers[worker] {
                (_, ServerFaults::None) => (Fault::Kill, Target::Worker(worker)),
                (server, ServerFaults::Misbehaves) if fault == Fault::Reject => {
                    (fault, Target::Server(server))
                }
                _ if fault == Fault::Reject => (Fault::LoseAnswers, Target::WayToServer(worker)),
                _ => (fault, Target::WayToServer(worker)),
            }
        }
        87..=90 if shape.disks => (
            Fault::FullDisk,
            if random.chance(0.5) { Target::Broker(broker) } else { Target::Worker(worker) },
        ),
        91..=93 if shape.disks => (
            Fault::ReadOnly,
            if random.chance(0.5) { Target::Broker(broker) } else { Target::Worker(worker) },
        ),
        94..=99 if clock.is_some() => (Fault::Step, clock.cloned().unwrap_or(Target::Broker(0))),
        _ => (*random.one(&messages), way),
    };
    let lasts = match fault {
        Fault::Kill | Fault::End => random.millis(0, 3_000),
        Fault::Pause => random.millis(500, 6_000),
        Fault::Reset if !matches!(target, Target::WayToServer(_)) => Duration::ZERO,
        Fault::FullDisk => random.millis(1_000, 6_000),
        Fault::ReadOnly => random.millis(500, 4_000),
        Fault::Step => Duration::ZERO,
        _ => random.millis(1_000, 8_000),
    };
    // Half of the steps are within minutes; one in four sets the clock right.
    let by = match random.within(0, 7) {
        0 | 1 => 0,
        2..=4 => random.within(0, 600) as i64 - 300,
        _ => random.within(0, 6 * 3_600) as i64 - 3 * 3_600,
    };
    Event { at, fault, target, lasts, by: if fault == Fault::Step { by } else { 0 } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        Shape {
            brokers: 2,
            workers: vec![
                (0, ServerFaults::None),
                (1, ServerFaults::Dies),
                (2, ServerFaults::Stops),
                (3, ServerFaults::Misbehaves),
            ],
            mortal: vec![3, 4],
            applications: 20,
            clocks: vec![Target::Broker(0), Target::Application(1)],
            disks: true,
            keys: vec![Target::Worker(0), Target::Application(1)],
        }
    }

    #[test]
    fn keys_leave_the_rest_as_it_is() {
        let minute = Duration::from_secs(60);
        let mut with = schedule(7, minute, &shape());
        let without = schedule(7, minute, &Shape { keys: Vec::new(), ..shape() });
        with.retain(|event| event.fault != Fault::Revoke);
        assert_eq!(with, without);
    }

    #[test]
    fn a_seed_gives_one_schedule() {
        let minute = Duration::from_secs(60);
        let first = schedule(7, minute, &shape());
        assert_eq!(first, schedule(7, minute, &shape()));
        assert_ne!(first, schedule(8, minute, &shape()));
        assert!(first.len() > 30, "{} events", first.len());
        assert!(first.iter().all(|event| event.at + event.lasts < minute));
    }

    #[test]
    fn every_fault_comes_in_time() {
        let events = schedule(1, Duration::from_secs(3_600), &shape());
        for fault in Fault::value_variants() {
            assert!(events.iter().any(|event| event.fault == *fault), "{fault:?} never comes");
        }
    }
}
