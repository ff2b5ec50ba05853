//! Where frames come from: a subscription of one's own, or one that several workers share.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use zibrato_transport::{Broker, Event, Subscriber};

/// Events that may wait for one worker.
const EVENTS: usize = 4096;
/// Bytes of frames that may wait for one worker; what is more it misses, and asks the brokers for what talks.
const BYTES: usize = 32 << 20;

/// Which brokers are heard at present. Clones are of the same.
#[derive(Debug, Clone)]
pub(crate) struct Heard(Arc<Brokers>);

#[derive(Debug)]
struct Brokers {
    heard: Box<[AtomicBool]>,
    /// How often one fell silent.
    silences: AtomicU64,
    /// How often a connection to one was refused, by either side.
    refusals: AtomicU64,
}

impl Heard {
    fn of(brokers: &[Broker]) -> Heard {
        let heard = brokers.iter().map(|_| AtomicBool::new(false)).collect();
        Heard(Arc::new(Brokers { heard, silences: AtomicU64::new(0), refusals: AtomicU64::new(0) }))
    }

    fn note(&self, event: &Event) {
        let (broker, heard) = match event {
            Event::Silent { broker } => (*broker, false),
            Event::Back { broker, .. } => (*broker, true),
            Event::Refused { .. } => {
                self.0.refusals.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Event::Message { .. } | Event::Malformed { .. } => return,
        };
        if let Some(one) = self.0.heard.get(broker)
            && one.swap(heard, Ordering::Relaxed)
            && !heard
        {
            self.0.silences.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether this broker is heard.
    pub(crate) fn is(&self, broker: usize) -> bool {
        self.0.heard.get(broker).is_some_and(|heard| heard.load(Ordering::Relaxed))
    }

    /// How many are.
    pub(crate) fn count(&self) -> usize {
        self.0.heard.iter().filter(|heard| heard.load(Ordering::Relaxed)).count()
    }

    /// Whether any is.
    pub(crate) fn any(&self) -> bool {
        self.count() > 0
    }

    /// How often one fell silent.
    pub(crate) fn silences(&self) -> u64 {
        self.0.silences.load(Ordering::Relaxed)
    }

    /// How often it was told that a connection to one was refused, by either side.
    pub(crate) fn refusals(&self) -> u64 {
        self.0.refusals.load(Ordering::Relaxed)
    }
}

/// One subscription to brokers for several workers, each of which has a [`Tap`]. A worker that does not keep up misses
/// frames, and holds up nobody else; it asks the brokers for what it has missed, as it does after a broker was away.
#[derive(Debug)]
pub struct Subscription {
    brokers: Vec<Broker>,
    topics: Vec<String>,
    taps: Arc<Mutex<Vec<Outlet>>>,
    heard: Heard,
    task: JoinHandle<()>,
}

impl Subscription {
    /// Starts receiving what the brokers publish under topics that begin with one of `topics`; an empty one stands
    /// for all.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(brokers: &[Broker], topics: &[String]) -> Subscription {
        let taps = Arc::default();
        let heard = Heard::of(brokers);
        let task = tokio::spawn(pass(brokers.to_vec(), topics.to_vec(), Arc::clone(&taps), heard.clone()));
        Subscription { brokers: brokers.to_vec(), topics: topics.to_vec(), taps, heard, task }
    }

    /// Goes on with other topics. All workers then ask the brokers for what they may have missed.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn set_topics(&mut self, topics: &[String]) {
        if self.topics != topics {
            self.task.abort();
            self.topics = topics.to_vec();
            // What is heard of the brokers from now on is of the new connections.
            let (brokers, taps) = (self.brokers.clone(), Arc::clone(&self.taps));
            self.task = tokio::spawn(pass(brokers, self.topics.clone(), taps, self.heard.clone()));
        }
    }

    /// What is received from now on, for one worker; until it is dropped.
    pub fn tap(&self) -> Tap {
        let (sender, events) = mpsc::channel(EVENTS);
        let (waiting, misses) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
        let outlet = Outlet { sender, waiting: waiting.clone(), missed: false, misses: misses.clone() };
        lock(&self.taps).push(outlet);
        Tap { events, waiting, misses, heard: self.heard.clone() }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One worker's end of a [`Subscription`].
#[derive(Debug)]
pub struct Tap {
    events: mpsc::Receiver<Event>,
    waiting: Arc<AtomicUsize>,
    misses: Arc<AtomicU64>,
    heard: Heard,
}

/// The other end of a tap.
#[derive(Debug)]
struct Outlet {
    sender: mpsc::Sender<Event>,
    /// Bytes of frames.
    waiting: Arc<AtomicUsize>,
    /// Whether something was left out, and the worker does not know yet.
    missed: bool,
    /// How many events were left out so far.
    misses: Arc<AtomicU64>,
}

impl Outlet {
    /// Passes an event on; false where nobody takes any more.
    fn put(&mut self, event: &Event, brokers: usize) -> bool {
        // It is told only when there is room again, or that would be left out, too.
        if self.missed
            && self.sender.capacity() > EVENTS / 2
            && self.waiting.load(Ordering::Relaxed) < BYTES / 2
        {
            self.missed = (0..brokers).any(|broker| self.sender.try_send(back(broker)).is_err());
        }
        let size = if let Event::Message { frame, .. } = event { frame.len() } else { 0 };
        if self.waiting.load(Ordering::Relaxed) + size > BYTES {
            self.miss();
            return !self.sender.is_closed();
        }
        self.waiting.fetch_add(size, Ordering::Relaxed);
        match self.sender.try_send(event.clone()) {
            Ok(()) => true,
            Err(why) => {
                self.waiting.fetch_sub(size, Ordering::Relaxed);
                self.miss();
                matches!(why, mpsc::error::TrySendError::Full(_))
            }
        }
    }
}

impl Outlet {
    fn miss(&mut self) {
        self.missed = true;
        self.misses.fetch_add(1, Ordering::Relaxed);
    }
}

/// Instead of a broker's boot: it was heard all the time, but a worker's tap was full.
pub(crate) const MISSED: [u8; 16] = [0; 16];

/// What makes a worker ask a broker for what it has missed.
fn back(broker: usize) -> Event {
    Event::Back { broker, boot: MISSED }
}

async fn pass(brokers: Vec<Broker>, topics: Vec<String>, taps: Arc<Mutex<Vec<Outlet>>>, heard: Heard) {
    let mut subscriber = Subscriber::start(&brokers, &topics);
    let name = |broker: usize| brokers.get(broker).map(ToString::to_string).unwrap_or_default();
    loop {
        let event = subscriber.recv().await;
        tell(&event, name);
        heard.note(&event);
        lock(&taps).retain_mut(|outlet| outlet.put(&event, brokers.len()));
    }
}

/// Logs what operators need to know of a broker.
fn tell(event: &Event, name: impl Fn(usize) -> String) {
    match event {
        Event::Silent { broker } => {
            tracing::warn!(broker = name(*broker), "nothing is heard of the broker");
        }
        Event::Refused { broker, why } => {
            tracing::warn!(broker = name(*broker), "failed to {why}");
        }
        Event::Back { broker, .. } => tracing::info!(broker = name(*broker), "the broker is heard"),
        Event::Message { .. } | Event::Malformed { .. } => {}
    }
}

fn lock(taps: &Mutex<Vec<Outlet>>) -> MutexGuard<'_, Vec<Outlet>> {
    taps.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a worker's frames come from.
#[derive(Debug)]
pub(crate) enum Feed {
    Own { subscriber: Subscriber, brokers: Vec<Broker>, heard: Heard },
    Shared(Tap),
}

impl Feed {
    pub(crate) fn own(brokers: &[Broker], topics: &[String]) -> Feed {
        let subscriber = Subscriber::start(brokers, topics);
        Feed::Own { subscriber, brokers: brokers.to_vec(), heard: Heard::of(brokers) }
    }

    /// Which brokers are heard.
    pub(crate) fn heard(&self) -> Heard {
        match self {
            Feed::Own { heard, .. } => heard.clone(),
            Feed::Shared(tap) => tap.heard.clone(),
        }
    }

    /// How many frames were left out because they were not taken in time.
    pub(crate) fn misses(&self) -> u64 {
        match self {
            Feed::Own { .. } => 0,
            Feed::Shared(tap) => tap.misses.load(Ordering::Relaxed),
        }
    }

    /// The next event; for ever waiting where there will be none. May be dropped without losing an event.
    pub(crate) async fn recv(&mut self) -> Event {
        match self {
            Feed::Own { subscriber, brokers, heard } => {
                let event = subscriber.recv().await;
                heard.note(&event);
                tell(&event, |broker| brokers.get(broker).map(ToString::to_string).unwrap_or_default());
                event
            }
            Feed::Shared(tap) => match tap.events.recv().await {
                Some(event) => {
                    if let Event::Message { frame, .. } = &event {
                        tap.waiting.fetch_sub(frame.len(), Ordering::Relaxed);
                    }
                    event
                }
                None => std::future::pending().await,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(size: usize) -> Event {
        Event::Message { broker: 0, topic: "info|".into(), frame: vec![0; size].into() }
    }

    #[test]
    fn silences_and_refusals_are_counted() {
        let heard = Heard::of(&["tcp://127.0.0.1:1".parse().unwrap()]);
        heard.note(&Event::Silent { broker: 0 });
        heard.note(&Event::Refused { broker: 0, why: "connect: its key is another one".into() });
        heard.note(&back(0));
        assert!(heard.is(0));
        heard.note(&Event::Silent { broker: 0 });
        assert_eq!((heard.any(), heard.silences(), heard.refusals()), (false, 1, 1));
    }

    #[tokio::test]
    async fn a_worker_that_does_not_keep_up_is_told_that_it_has_missed_something() {
        let (sender, events) = mpsc::channel(EVENTS);
        let waiting = Arc::new(AtomicUsize::new(0));
        let misses = Arc::new(AtomicU64::new(0));
        let mut outlet = Outlet { sender, waiting: waiting.clone(), missed: false, misses: misses.clone() };
        let mut feed = Feed::Shared(Tap { events, waiting, misses, heard: Heard::of(&[]) });
        for _ in 0..40 {
            assert!(outlet.put(&message(1 << 20), 2));
        }
        assert!(outlet.missed && feed.misses() > 0);
        for _ in 0..32 {
            assert!(matches!(feed.recv().await, Event::Message { .. }));
        }
        assert!(outlet.put(&message(1), 2) && !outlet.missed);
        for broker in 0..2 {
            assert!(matches!(feed.recv().await, Event::Back { broker: b, .. } if b == broker));
        }
        assert!(matches!(feed.recv().await, Event::Message { .. }));
        drop(feed);
        assert!(!outlet.put(&message(1), 2), "nobody takes any more");
    }
}
