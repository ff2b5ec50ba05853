//! Listening to brokers: from what passes, and what they tell when asked, to what happened in a period.

use std::time::Duration;

use futures::future::select_all;
use tokio::time::{Interval, MissedTickBehavior, interval};
use zibrato_core::ask::Message;
use zibrato_core::clock::unix_nanos;
use zibrato_core::frame::decode;
use zibrato_core::ledger::{Arrival, Delta, Ledger, Settled, Slacks};
use zibrato_core::level::{Levels, of_topic};
use zibrato_transport::{Asker, Broker, Event, Subscriber};
use zibrato_worker::Asking;

const SECOND: u64 = 1_000_000_000;
/// How long after a question the next one comes.
const ASK_AGAIN: u64 = 5 * SECOND;
/// How long what is no longer heard is remembered. A worker, which must not count twice after an outage of days,
/// takes days.
const HORIZON: u64 = 3600 * SECOND;
/// Whoever watches wants to see what happens from now on, so a start is taken as exactly as it is known.
const SLACKS: Slacks = Slacks { clock: 0, way: 20 * SECOND };

/// What was heard beside frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing to tell.
    Frames,
    /// Nothing is heard of this broker.
    Silent(usize),
    /// A connection to this broker was refused, and why.
    Refused(usize, String),
    /// This broker is heard for the first time or again.
    Back(usize),
}

enum Next {
    Event(Event),
    Answer(usize, Message),
    Tick,
}

/// Listens to brokers, and asks them for what it may have missed.
pub(crate) struct Listener {
    brokers: Vec<Broker>,
    levels: Levels,
    subscriber: Subscriber,
    askers: Vec<Asker>,
    asking: Asking,
    ask: Interval,
    ledger: Ledger,
    started_at: u64,
    forgot_at: u64,
    ran_at: u64,
    bad: u64,
}

impl Listener {
    /// Must be called within a tokio runtime.
    pub(crate) fn start(brokers: &[Broker], levels: Levels) -> Listener {
        let now = unix_nanos();
        let mut ledger = Ledger::new(Settled::default(), SLACKS, HORIZON);
        ledger.since_mut().begin(&levels, now);
        let mut ask = interval(Duration::from_secs(1));
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Listener {
            subscriber: Subscriber::start(brokers, &levels.topics()),
            askers: brokers.iter().map(Asker::start).collect(),
            asking: Asking::new(brokers.len(), levels.listed(), ASK_AGAIN),
            ask,
            brokers: brokers.to_vec(),
            levels,
            ledger,
            started_at: now,
            forgot_at: now,
            ran_at: now,
            bad: 0,
        }
    }

    /// Takes in the next message. May be dropped without losing one.
    pub(crate) async fn hear(&mut self) -> Heard {
        match self.next().await {
            Next::Event(event) => return self.on_event(event),
            Next::Answer(broker, message) => self.on_answer(broker, message),
            Next::Tick => self.look_after(),
        }
        Heard::Frames
    }

    async fn next(&mut self) -> Next {
        let answer = select_all(self.askers.iter_mut().map(|asker| Box::pin(asker.recv())));
        tokio::select! {
            event = self.subscriber.recv() => Next::Event(event),
            (message, broker, _) = answer => Next::Answer(broker, message),
            _ = self.ask.tick() => Next::Tick,
        }
    }

    fn on_event(&mut self, event: Event) -> Heard {
        match event {
            Event::Message { topic, frame, .. } => self.merge(&topic, &frame, 0),
            Event::Malformed { .. } => self.bad += 1,
            Event::Silent { broker } => return Heard::Silent(broker),
            Event::Refused { broker, why } => return Heard::Refused(broker, why),
            Event::Back { broker, .. } => {
                self.asking.back(broker);
                self.ask();
                return Heard::Back(broker);
            }
        }
        Heard::Frames
    }

    fn on_answer(&mut self, broker: usize, message: Message) {
        match message {
            Message::Kept { id, index, held, topic, frame } => {
                self.merge(&topic, &frame, held);
                self.asking.kept(broker, id, index, unix_nanos());
            }
            Message::Done { id, count, cursor } => self.asking.done(broker, id, count, cursor, unix_nanos()),
            _ => {}
        }
    }

    fn merge(&mut self, topic: &[u8], frame: &[u8], held: u64) {
        let (Some(level), Ok(decoded)) = (of_topic(topic), decode(frame)) else {
            self.bad += 1;
            return;
        };
        self.bad += u64::from(!decoded.skipped.is_empty());
        if self.levels.contains(level) {
            self.ledger.merge(level, decoded.frame, Arrival { now: unix_nanos(), held });
        }
    }

    fn ask(&mut self) {
        for (broker, question) in self.asking.due(unix_nanos()) {
            if let Some(asker) = self.askers.get(broker) {
                asker.send(question);
            }
        }
    }

    /// Asks what is due, and forgets what has been silent for long.
    fn look_after(&mut self) {
        self.ask();
        let now = unix_nanos();
        if self.asking.is_answered(now) {
            self.ledger.run(now.saturating_sub(self.ran_at));
        }
        self.ran_at = now;
        if now.saturating_sub(self.forgot_at) > HORIZON / 10 {
            self.forgot_at = now;
            let (gone, horizon) = self.ledger.forgettable(self.ledger.in_memory(), now);
            self.ledger.forget(&gone, horizon);
        }
    }

    /// What has happened since the last time.
    pub(crate) fn settle(&mut self) -> Vec<Delta> {
        self.ledger.settle(self.started_at).commit().deltas
    }

    /// The unit that a metric's values were described to have; empty where unknown.
    pub(crate) fn unit(&self, name: &str) -> &str {
        self.ledger.description(name).map_or("", |description| &description.unit)
    }

    /// How many frames came that could not be understood in whole.
    pub(crate) fn bad(&self) -> u64 {
        self.bad
    }

    /// The broker of this number.
    pub(crate) fn broker(&self, number: usize) -> String {
        self.brokers.get(number).map(ToString::to_string).unwrap_or_default()
    }
}
