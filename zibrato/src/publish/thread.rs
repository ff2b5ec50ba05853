use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use zibrato_core::callback;
use zibrato_core::clock;
use zibrato_core::frame::Kind;
use zibrato_core::level::{self, topic};
use zibrato_core::publish::{Publisher, Set};
use zibrato_core::registry::{self, Counter, MetricSpec};
use zibrato_core::trace::{Event, Hop, Journal, Verdict};
use zibrato_transport::{Broker, Push};

use super::builder::Settings;
use super::hand_over::{HandOver, Parcel};
use super::{say, spill};

/// What the guard asks of the thread.
#[derive(Debug)]
pub(super) enum Order {
    /// Send now, and say so.
    Flush(std::sync::mpsc::Sender<()>),
    /// Deliver the last totals, say whether a broker has them, and end.
    End(std::sync::mpsc::Sender<bool>),
}

/// What the thread lets others read.
#[derive(Debug, Default)]
pub(super) struct Board {
    brokers: Mutex<Vec<(String, bool)>>,
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl Board {
    pub(super) fn read(&self) -> (Vec<(String, bool)>, u64, u64) {
        let brokers = self.brokers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (brokers, self.sent.load(Relaxed), self.dropped.load(Relaxed))
    }
}

pub(super) fn run(
    runtime: Runtime,
    settings: Settings,
    orders: mpsc::UnboundedReceiver<Order>,
    board: &Board,
) {
    #[cfg(feature = "process")]
    let _process = settings.process_metrics.then(crate::process::report);
    // The connections are tasks of the runtime, so they are made inside it.
    runtime.block_on(async { Sender::new(settings, board).run(orders).await });
    // Not waiting for a name look-up that may still hang.
    runtime.shutdown_background();
}

/// How long after the first acknowledgement of the end the other brokers' ones are waited for.
const OTHERS: Duration = Duration::from_millis(200);

/// Most events of marked rows that are kept, to be sent or for receivers that come late.
const EVENTS: usize = 1000;

struct Sender<'a> {
    publisher: Publisher,
    /// What is told of marked rows.
    journal: Journal,
    journal_dropped: u64,
    brokers: Vec<Broker>,
    pushes: Vec<Push>,
    /// Of which brokers it was said that they or their connections were refused, since they were connected last.
    said_refused: Vec<bool>,
    /// Carries what must not be lost, and is only there while there is something of that kind.
    hand_over: Option<HandOver>,
    /// Spilled files under way, by what is still to be acknowledged of them.
    spilled: HashMap<PathBuf, Vec<Parcel>>,
    interval: Duration,
    deadline: Duration,
    spill: Option<PathBuf>,
    board: &'a Board,
}

impl<'a> Sender<'a> {
    fn new(settings: Settings, board: &'a Board) -> Self {
        Sender {
            publisher: Publisher::new(&settings.source),
            journal: Journal::new(&settings.source, EVENTS),
            journal_dropped: 0,
            pushes: settings.brokers.iter().map(Push::start).collect(),
            said_refused: vec![false; settings.brokers.len()],
            brokers: settings.brokers,
            hand_over: None,
            spilled: HashMap::new(),
            interval: settings.interval,
            deadline: settings.deadline,
            spill: settings.spill,
            board,
        }
    }

    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        self.pick_up_spilled();
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let order = tokio::select! {
                _ = ticks.tick() => None,
                order = orders.recv() => Some(order),
            };
            match order {
                None => self.publish(),
                Some(Some(Order::Flush(done))) => {
                    self.publish();
                    // Lets the sockets' tasks take the frames.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    let _ = done.send(());
                }
                Some(Some(Order::End(done))) => {
                    let _ = done.send(self.end().await);
                    return;
                }
                // The guard was leaked or is gone without a word: there is nobody to wait for.
                Some(None) => {
                    self.end().await;
                    return;
                }
            }
            self.carry_on().await;
        }
    }

    fn publish(&mut self) {
        callback::call_all();
        let readings = registry::read();
        let retired = registry::take_retired();
        let now = clock::unix_nanos();
        // Before the complete set that has these metrics no more, and on the quick way too: should the process be
        // killed before a broker has acknowledged them, they have been seen.
        let retired = self.publisher.retire(retired, now);
        retired.iter().for_each(|set| self.push(set, now));
        self.hand_over(retired.into_iter().map(Parcel::of_set));
        for set in self.publisher.collect(readings, now) {
            self.push(&set, now);
        }
        if let Some(set) = self.journal.set(now, false) {
            self.push(&set, now);
        }
        self.post();
    }

    fn push(&mut self, set: &Set, now: u64) {
        let topic = topic(&set.level);
        let mut taken = true;
        for frame in set.frames(now).into_iter().map(Bytes::from) {
            for push in &self.pushes {
                taken &= push.offer(&topic, frame.clone());
            }
        }
        self.tell(set, if taken { Verdict::Ok } else { Verdict::Dropped });
    }

    /// Tells of the marked rows of a set that is on its way.
    fn tell(&mut self, set: &Set, verdict: Verdict) {
        // What is told of them is not told of itself.
        for mark in set.marks().filter(|mark| &*mark.level != level::TRACE) {
            let event = Event::new(Hop::Published, mark, clock::unix_nanos());
            self.journal.tell(event.with_verdict(verdict, None));
        }
        let dropped = self.journal.dropped() - self.journal_dropped;
        self.journal_dropped += dropped;
        count("zibrato.trace.dropped", dropped);
    }

    fn post(&mut self) {
        let stats: Vec<_> = self.pushes.iter().map(Push::stats).collect();
        self.board.sent.store(stats.iter().map(|s| s.sent).sum(), Relaxed);
        let dropped = stats.iter().map(|s| s.dropped).sum();
        let before = self.board.dropped.swap(dropped, Relaxed);
        count("zibrato.frames.dropped", dropped.saturating_sub(before));
        let brokers = self.brokers.iter().zip(&stats).map(|(b, s)| (b.to_string(), s.connected)).collect();
        *self.board.brokers.lock().unwrap_or_else(PoisonError::into_inner) = brokers;
        for ((push, stats), said) in self.pushes.iter().zip(&stats).zip(&mut self.said_refused) {
            if stats.connected {
                *said = false;
            } else if stats.refused > 0
                && !*said
                && let Some(trouble) = push.trouble()
            {
                *said = true;
                say(format_args!("failed to {trouble}"));
            }
        }
    }

    fn hand_over(&mut self, parcels: impl IntoIterator<Item = Parcel>) {
        let mut parcels = parcels.into_iter().peekable();
        if parcels.peek().is_some() {
            self.hand_over.get_or_insert_with(|| HandOver::start(&self.brokers)).add(parcels);
        }
    }

    /// Takes acknowledgements in, and repeats what has none yet.
    async fn carry_on(&mut self) {
        let Some(hand_over) = &mut self.hand_over else { return };
        hand_over.hear();
        hand_over.repeat();
        self.spilled.retain(|path, parcels| {
            parcels.retain(|parcel| !hand_over.is_acknowledged(parcel));
            if parcels.is_empty() {
                spill::remove(path);
            }
            !parcels.is_empty()
        });
        let lost = hand_over.let_go(Instant::now());
        if lost > 0 {
            count("zibrato.retired.lost", lost as u64);
            say(format_args!(
                "no broker has acknowledged the last totals of so many retired metrics; let go of {lost} sets"
            ));
        }
        if hand_over.is_done_everywhere()
            && let Some(done) = self.hand_over.take()
        {
            done.close(Duration::from_millis(100)).await;
        }
    }

    fn pick_up_spilled(&mut self) {
        let Some(directory) = &self.spill else { return };
        for file in spill::read(directory) {
            let parcels = file.parcels();
            self.spilled.insert(file.path, parcels.clone());
            self.hand_over(parcels);
        }
    }

    /// The last totals go to every broker until one has acknowledged them, or the deadline has passed; false in the
    /// latter case.
    async fn end(mut self) -> bool {
        callback::call_all();
        let readings = registry::end();
        let retired = registry::take_retired();
        let now = clock::unix_nanos();
        let retired = self.publisher.retire(retired, now);
        retired.iter().for_each(|set| self.tell(set, Verdict::Ok));
        self.hand_over(retired.into_iter().map(Parcel::of_set));
        let last = self.publisher.finish(readings, now);
        last.iter().for_each(|set| self.tell(set, Verdict::Ok));
        let journal = self.journal.set(now, true);
        self.hand_over(last.into_iter().chain(journal).map(Parcel::of_set));
        for push in std::mem::take(&mut self.pushes) {
            drop(push);
        }
        let Some(mut hand_over) = self.hand_over.take() else { return true };
        let deadline = Instant::now() + self.deadline;
        hand_over.until(deadline, HandOver::is_done).await;
        if hand_over.is_done() {
            let others = (Instant::now() + OTHERS).min(deadline);
            hand_over.until(others, HandOver::is_done_everywhere).await;
        }
        for (path, parcels) in &self.spilled {
            if parcels.iter().all(|parcel| hand_over.is_acknowledged(parcel)) {
                spill::remove(path);
            }
        }
        let left: Vec<Parcel> = hand_over.unacknowledged().filter(|p| !p.was_spilled()).cloned().collect();
        let troubles = hand_over.close(Duration::from_millis(100)).await;
        if !left.is_empty() {
            self.say_undelivered(&left);
            troubles.iter().for_each(|trouble| say(format_args!("failed to {trouble}")));
        }
        left.is_empty()
    }

    fn say_undelivered(&self, left: &[Parcel]) {
        let brokers: Vec<String> = self.brokers.iter().map(ToString::to_string).collect();
        let (brokers, instance) = (brokers.join(", "), self.publisher.instance());
        let saved = self.spill.as_ref().map(|directory| spill::write(directory, instance, left));
        match saved {
            None => say(format_args!(
                "no broker at {brokers} has acknowledged the last totals of instance {instance}; \
                 what it measured since its last frame that arrived is lost (set ZIBRATO_SPILL to a directory to keep it)"
            )),
            Some(Ok(path)) => say(format_args!(
                "no broker at {brokers} has acknowledged the last totals of instance {instance}; \
                 they are in {}, for the next process or `zibrato send --spilled`",
                path.display()
            )),
            Some(Err(e)) => say(format_args!(
                "no broker at {brokers} has acknowledged the last totals of instance {instance}, \
                 and failed to {e}"
            )),
        }
    }
}

/// Counts what goes wrong with sending. Such a metric is there only once there is something to count.
fn count(name: &str, more: u64) {
    if more > 0 {
        let (level, kind) = (level::OWN, Kind::Counter);
        let spec = MetricSpec { level, kind, name, source: None, tags: &[], statistics: false };
        Counter::of(&spec).add(more);
    }
}
