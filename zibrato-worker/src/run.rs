//! A worker at work: sockets, timers and tasks around [`Settler`] and [`Sender`].

use std::collections::VecDeque;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, Notify, OwnedMutexGuard, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};
use tracing::Instrument;
use zibrato_admin::{Loop, Part, Server, Watchdog};
use zibrato_core::ask::Message;
use zibrato_core::clock;
use zibrato_core::frame::{Frame, InstanceId, decode};
use zibrato_core::ledger::{Arrival, Limits, Merged};
use zibrato_core::level::{self, Levels};
use zibrato_transport::{Asker, Broker, Event};

use crate::admin::Admin;
use crate::asking::{Asking, INTERVAL};
use crate::backend::{Backend, Temporality};
use crate::batch::Batch;
use crate::complaints::Complaints;
use crate::dry_run::{self, DryRun};
use crate::error::Error;
use crate::options::Options;
use crate::own::{self, Own};
use crate::program::notify;
use crate::sender::{Sender, Sent, blocking};
use crate::settle::{Outcome, Rules, Settler};
use crate::shape::Shape;
use crate::shard::Shard;
use crate::state::State;
use crate::status::Status;
use crate::subscription::{Feed, MISSED, Tap};
use crate::vitals::Vitals;

/// How often first sights are written down and questions are looked after.
const TICK: Duration = Duration::from_secs(1);
/// How often the worker looks for what is to be forgotten.
const FORGET: Duration = Duration::from_secs(600);
/// How long the end may take, for a last request.
const STOPPING: Duration = Duration::from_secs(10);
/// How long the end waits for a request that is under way, before it gives it up in order to settle.
const LAST_REQUEST: Duration = Duration::from_secs(5);
/// Bytes of frames that may wait until the backend can be asked about their series; of more, none are received.
const HELD: usize = 32 << 20;
/// How long the end takes at most to merge what has arrived.
const ARRIVED: Duration = Duration::from_millis(500);
/// How long the end waits for a request to be gone that was given up.
const GONE: Duration = Duration::from_secs(1);
/// How long to wait after the state directory could not be used.
const DISK: Duration = Duration::from_secs(5);
/// How long to wait until nothing uses a damaged state any more.
const LET_GO: Duration = Duration::from_secs(30);
/// How often the state may be found damaged before the worker gives up.
const DAMAGES: u64 = 5;
/// After so long without a turn the worker is stuck. A turn may have to wait for a slow disk.
const STUCK: Duration = Duration::from_secs(120);
/// After so long one attempt to send is stuck; the requests that it makes end before.
const SENDING: Duration = Duration::from_secs(300);
/// How long the sender sleeps when there is nothing to send and nobody wakes it.
const ASLEEP: Duration = Duration::from_secs(60);

/// Runs a worker until `shutdown` is done: then it settles once more, sends what it can within a bounded time, and
/// leaves the rest in its state directory for the next start. Must be called within a tokio runtime with time and
/// I/O.
///
/// # Errors
/// When the options are impossible or the state directory cannot be used. Whatever brokers and the backend do is no
/// error.
pub async fn run<B: Backend>(
    options: Options,
    backend: B,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let admin = Arc::new(Admin::default());
    let _server = Server::start(&options.admin, admin.clone()).map_err(Error::Admin)?;
    let watched = admin.clone();
    let watchdog = Watchdog::start(move || watched.troubles());
    let _watchdog = watchdog.map_err(|why| Error::Task { why: format!("start the watchdog: {why}") })?;
    admin.starts(options.name.as_deref().unwrap_or(B::NAME));
    let brokers = options.brokers()?;
    options.warn_of_security(&brokers);
    let feed = Feed::own(&brokers, &options.levels.topics());
    let told = admin.clone();
    let stop = async {
        shutdown.await;
        told.stops();
    };
    let result = run_fed(options, backend, feed, &admin, || notify(false), stop).await;
    notify(true);
    result
}

/// The same over a subscription that it shares with other workers of the process, which must be one to the same brokers
/// and at least to the worker's levels. Whoever runs the workers tells systemd of them, and serves the admin port of all,
/// which is told of this one by `admin`.
///
/// # Errors
/// As [`run`].
pub async fn run_tapped<B: Backend>(
    options: Options,
    backend: B,
    tap: Tap,
    admin: &Admin,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    run_fed(options, backend, Feed::Shared(tap), admin, || {}, shutdown).await
}

async fn run_fed<B: Backend>(
    options: Options,
    backend: B,
    feed: Feed,
    admin: &Admin,
    ready: impl FnOnce(),
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let directory = options.state_directory(B::NAME)?;
    if !options.dry_run {
        return run_in(options, backend, &directory, feed, admin, ready, shutdown).await;
    }
    let copy = blocking(move || dry_run::copy(&directory)).await?;
    run_in(options, DryRun(backend), copy.path(), feed, admin, ready, shutdown).await
}

async fn run_in<B: Backend>(
    options: Options,
    mut backend: B,
    directory: &std::path::Path,
    feed: Feed,
    admin: &Admin,
    ready: impl FnOnce(),
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let brokers = options.brokers()?;
    let fresh = Rules::default().fresh.max(2 * options.flush.as_nanos() as u64);
    let limits = Limits { bytes: options.max_bytes, instances: options.max_instances };
    let rules = Rules {
        outbox_limit: options.outbox_limit,
        fresh,
        limits,
        series: options.max_series,
        ..Rules::default()
    };
    let shape = options.shape()?;
    let opening = Opening {
        directory: directory.to_path_buf(),
        levels: options.levels.clone(),
        shard: options.shard,
        rules,
        shape,
    };
    let open = opening.clone();
    let (mut settler, backend) = blocking(move || {
        let (settler, restored) = open.open(backend.temporality(), B::NAME, None)?;
        if let Some(restored) = restored {
            backend.restore(restored);
        }
        Ok((settler, backend))
    })
    .await?;
    tracing::info!(
        backend = B::NAME, brokers = options.broker, levels = %options.levels, flush = options.flush.as_secs_f64(),
        state = %settler.state().directory().display(), "worker starts"
    );
    let backend = Arc::new(Mutex::new(backend));
    let status = Arc::new(Status::default());
    count_damage(&status, settler.state());
    // A dry run tells brokers nothing.
    let listeners = if options.dry_run { &[][..] } else { &brokers };
    let own = Own::new(listeners, B::NAME, options.name.as_deref(), clock::unix_nanos());
    let tracing = (!options.dry_run).then(|| own.tracing());
    if let Some(tracing) = &tracing {
        settler.set_tracing(tracing.clone());
    }
    let [disk, senders_disk] = Disk::two(&status, &Arc::default());
    let vitals = Arc::new(Vitals::new(
        B::NAME,
        &brokers,
        options.levels.to_string(),
        settler.state().directory().display().to_string(),
        status.clone(),
        feed.heard(),
        disk.failing.clone(),
    ));
    let name = options.name.as_deref().unwrap_or(B::NAME);
    let turns = admin.liveness().regular(format!("the worker {name}"), STUCK);
    let sends = Arc::new(admin.liveness().on_demand(format!("sending to {name}"), SENDING));
    admin.works(name, vitals.clone());
    let sender = Sender::new(backend.clone(), settler.state().clone(), status.clone());
    let sending = Sending::start(sender.with_tracing(tracing), senders_disk, sends.clone());
    let (asker_messages, answers) = mpsc::channel(64);
    let mut worker = Work {
        feed,
        askers: brokers
            .iter()
            .enumerate()
            .map(|(i, b)| AskerTask::start(i, b, asker_messages.clone()))
            .collect(),
        answers,
        asking: Asking::new(brokers.len(), options.levels.listed(), INTERVAL),
        own: Some(own),
        vitals,
        turns,
        sends,
        brokers,
        levels: options.levels,
        settler: Some(settler),
        backend,
        status,
        complaints: Complaints::default(),
        disk,
        sending,
        held: VecDeque::new(),
        held_bytes: 0,
        began: Instant::now(),
        begun_anew: 0,
        batches_lost: 0,
        opening,
    };
    ready();
    let mut shutdown = std::pin::pin!(shutdown);
    let mut stopping = false;
    let ended = loop {
        let mut result = if stopping { Ok(()) } else { worker.work(options.flush, shutdown.as_mut()).await };
        if result.is_ok() {
            stopping = true;
            result = worker.end().await;
        }
        match result {
            Err(Error::Database { why, .. })
                if zibrato_disk::is_damage(&why) && worker.begun_anew < DAMAGES =>
            {
                worker.begun_anew += 1;
                worker.begin_anew(why.to_string().replace('\n', " ")).await?;
            }
            ended => break ended,
        }
    };
    let figures = worker.status.figures();
    let counts = worker.settler.as_ref().map(Settler::counts).unwrap_or_default();
    tracing::info!(?figures, ?counts, "worker ends");
    ended
}

/// What a state directory is opened with.
#[derive(Debug, Clone)]
struct Opening {
    directory: PathBuf,
    levels: Levels,
    shard: Shard,
    rules: Rules,
    shape: Shape,
}

impl Opening {
    /// Opens it, after `damage` was found while it was used; with the totals that the backend continues from, if it is told
    /// some.
    fn open(
        &self,
        temporality: Temporality,
        backend: &str,
        damage: Option<String>,
    ) -> Result<(Settler, Option<Batch>), Error> {
        let state = State::open_after(&self.directory, backend, self.shard, damage)?;
        state.tell(temporality)?;
        let mut settler = Settler::new(state, &self.levels, self.rules, now())?;
        settler.set_shape(self.shape.clone());
        let restored = (temporality == Temporality::Cumulative).then(|| settler.restored()).transpose()?;
        Ok((settler, restored))
    }
}

fn count_damage(status: &Status, state: &State) {
    if state.lacks_batches() {
        status.state_damaged(1);
    }
    if let Some(damage) = state.damage() {
        status.state_damaged(1);
        status.state_instances_lost(damage.instances_lost);
        status.state_batches_lost(damage.batches_lost);
    }
}

/// Nanoseconds since 1970 UTC.
fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

struct Work<B> {
    feed: Feed,
    askers: Vec<AskerTask>,
    answers: mpsc::Receiver<(usize, Message)>,
    asking: Asking,
    /// Until the end.
    own: Option<Own>,
    vitals: Arc<Vitals>,
    turns: Loop,
    sends: Arc<Loop>,
    brokers: Vec<Broker>,
    levels: Levels,
    /// Away only while a task that uses the disk has it.
    settler: Option<Settler>,
    backend: Arc<Mutex<B>>,
    status: Arc<Status>,
    complaints: Complaints,
    disk: Disk,
    sending: Sending,
    held: VecDeque<Held>,
    held_bytes: usize,
    began: Instant,
    /// How often the state was damaged while it was used, and begun anew.
    begun_anew: u64,
    /// How many batches of the present state were lost, as far as is told.
    batches_lost: u64,
    opening: Opening,
}

/// A frame with series that the backend could not be asked about, because it was busy with a request.
struct Held {
    level: String,
    frame: Frame,
    arrival: Arrival,
    answers: Option<Answers>,
    size: usize,
}

/// Whose frame it is, for people.
struct Whose {
    instance: InstanceId,
    source: String,
}

impl Whose {
    fn of(frame: &Frame) -> Self {
        Whose { instance: frame.head.instance, source: frame.head.source.clone() }
    }
}

impl std::fmt::Display for Whose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "instance {} of {}", self.instance, self.source)
    }
}

/// Which broker's answer to which question a frame belongs to, and its number in there.
#[derive(Clone, Copy)]
struct Answers {
    broker: usize,
    id: u64,
    index: u64,
}

impl<B: Backend> Work<B> {
    async fn work(
        &mut self,
        flush: Duration,
        mut shutdown: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), Error> {
        let mut tick = every(TICK);
        let mut own_tick = every(own::EVERY);
        let mut forget = every(FORGET);
        let mut ticked = Instant::now();
        let mut next_flush = tokio::time::Instant::now() + flush;
        // While a flush, or a frame with new series, waits for the backend to be free, everything else goes on.
        // Nothing here may wait for the backend in another way: it could be given to this one, which nobody polls.
        let mut free = std::pin::pin!(None);
        loop {
            if free.is_none() && !self.held.is_empty() {
                free.set(Some(self.backend.clone().lock_owned()));
            }
            let (waits, room) = (free.is_some(), self.held_bytes < HELD);
            tokio::select! {
                () = &mut shutdown => return Ok(()),
                event = self.feed.recv(), if room => self.on_event(event)?,
                Some((broker, message)) = self.answers.recv(), if room => self.on_answer(broker, message)?,
                () = sleep_until(next_flush), if !waits => free.set(Some(self.backend.clone().lock_owned())),
                Some(backend) = ready(free.as_mut()), if waits => {
                    free.set(None);
                    self.merge_held(&backend)?;
                    if tokio::time::Instant::now() < next_flush {
                        continue;
                    }
                    next_flush = advance(next_flush, flush);
                    if let Outcome::TooEarly { until } = self.settle(backend, false).await? {
                        let wait = Duration::from_nanos(until.saturating_sub(now()));
                        next_flush = next_flush.min(tokio::time::Instant::now() + wait);
                    }
                }
                _ = tick.tick() => {
                    let elapsed = ticked.elapsed();
                    ticked = Instant::now();
                    self.tick(elapsed).await?;
                }
                _ = own_tick.tick() => self.send_own(false),
                _ = forget.tick() => {
                    let gone = self.with_settler(|settler| settler.forget(now())).await;
                    if let Some(gone @ 1..) = self.disk.tolerate(gone)? {
                        tracing::info!(instances = gone, "forgot instances that have not been heard for long");
                    }
                }
                why = self.sending.failed() => return Err(why),
            }
        }
    }

    /// Goes on with a new state directory, into which goes what could be saved of the damaged one, as if the worker had
    /// been started again.
    async fn begin_anew(&mut self, damage: String) -> Result<(), Error> {
        self.sending.give_up();
        if !self.sending.task.is_finished() {
            let _ = timeout(LET_GO, &mut self.sending.task).await;
        }
        self.settler = None;
        (self.held, self.held_bytes) = (VecDeque::new(), 0);
        let deadline = Instant::now() + LET_GO;
        let temporality = self.backend.lock().await.temporality();
        let (mut settler, restored) = loop {
            let (opening, damage) = (self.opening.clone(), damage.clone());
            let opened = blocking(move || opening.open(temporality, B::NAME, Some(damage))).await;
            match opened {
                // What was begun with the old one is not done yet.
                Err(Error::InUse { .. }) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                opened => break opened?,
            }
        };
        if let Some(restored) = restored {
            self.backend.lock().await.restore(restored);
        }
        count_damage(&self.status, settler.state());
        let tracing = self.own.as_ref().map(Own::tracing);
        if let Some(tracing) = &tracing {
            settler.set_tracing(tracing.clone());
        }
        // Nobody has found the new one failing yet.
        self.disk.failing.store(0, Relaxed);
        let [disk, senders_disk] = Disk::two(&self.status, &self.disk.failing);
        let sender = Sender::new(self.backend.clone(), settler.state().clone(), self.status.clone());
        self.sending = Sending::start(sender.with_tracing(tracing), senders_disk, self.sends.clone());
        (self.settler, self.disk, self.batches_lost) = (Some(settler), disk, 0);
        self.asking.anew();
        Ok(())
    }

    fn on_event(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Message { topic, frame, .. } => self.merge(&topic, &frame, 0, None)?,
            Event::Malformed { .. } => {
                self.status.malformed(1);
                self.complaints.add("not two parts", 1);
            }
            Event::Silent { .. } | Event::Refused { .. } => {}
            Event::Back { broker, boot } => {
                match boot == MISSED {
                    true => self.asking.missed(broker),
                    false => self.asking.back(broker),
                }
                self.ask();
            }
        }
        Ok(())
    }

    fn on_answer(&mut self, broker: usize, message: Message) -> Result<(), Error> {
        match message {
            Message::Kept { id, index, held, topic, frame } => {
                self.merge(&topic, &frame, held, Some(Answers { broker, id, index }))?;
            }
            Message::Done { id, count, cursor } => {
                self.asking.done(broker, id, count, cursor, self.elapsed());
            }
            Message::Refused { why } => {
                self.status.asks_refused(1);
                tracing::warn!(broker = %self.name(broker), why, "the broker refused a question");
            }
            _ => {}
        }
        Ok(())
    }

    fn merge(
        &mut self,
        topic: &[u8],
        bytes: &[u8],
        held: u64,
        answers: Option<Answers>,
    ) -> Result<(), Error> {
        if let Some((level, frame)) = self.understand(topic, bytes) {
            let arrival = Arrival { now: now(), held };
            let Some(settler) = &mut self.settler else { return Ok(()) };
            if !settler.knows(&frame) {
                let Ok(backend) = self.backend.try_lock() else {
                    self.held_bytes += bytes.len();
                    let (level, size) = (level.to_owned(), bytes.len());
                    self.held.push_back(Held { level, frame, arrival, answers, size });
                    return Ok(());
                };
                settler.learn(&frame, &*backend);
            }
            let whose = Whose::of(&frame);
            let merged = settler.merge_known(level, frame, arrival);
            return self.merged(&whose, merged, answers);
        }
        self.kept(answers);
        Ok(())
    }

    /// Merges what has waited for the backend.
    fn merge_held(&mut self, backend: &B) -> Result<(), Error> {
        while let Some(Held { level, frame, arrival, answers, size }) = self.held.pop_front() {
            self.held_bytes -= size;
            let Some(settler) = &mut self.settler else { return Ok(()) };
            let whose = Whose::of(&frame);
            let merged = settler.merge(&level, frame, arrival, backend);
            self.merged(&whose, merged, answers)?;
        }
        Ok(())
    }

    /// Takes note of what became of a frame. One of which the settled totals cannot be read is as good as lost: it
    /// is asked for again; so is one for which there is no room.
    fn merged(
        &mut self,
        whose: &Whose,
        merged: Result<Merged, Error>,
        answers: Option<Answers>,
    ) -> Result<(), Error> {
        match merged {
            Ok(Merged::Taken { beyond: 0 }) => {}
            Ok(Merged::Taken { beyond }) => {
                self.complaints.add_from(
                    "row: no room for more of one instance",
                    beyond,
                    Some(&whose.to_string()),
                );
            }
            Ok(Merged::TooOld) => self.complaints.add("frame: too old", 1),
            Ok(Merged::NoRoom) => {
                self.complaints.add_from("frame: no room for more instances", 1, Some(&whose.to_string()));
                return Ok(());
            }
            failed => return self.disk.tolerate(failed).map(drop),
        }
        self.kept(answers);
        Ok(())
    }

    /// Notes a frame of an answer: only when it is merged; also if it cannot be, because it never will.
    fn kept(&mut self, answers: Option<Answers>) {
        if let Some(Answers { broker, id, index }) = answers {
            self.asking.kept(broker, id, index, self.elapsed());
        }
    }

    /// The level and the frame, where both are sound and were asked for.
    fn understand<'a>(&mut self, topic: &'a [u8], bytes: &[u8]) -> Option<(&'a str, Frame)> {
        let Some(level) = level::of_topic(topic) else {
            self.status.malformed(1);
            self.complaints.add("bad topic", 1);
            return None;
        };
        // Brokers filter by prefix, and some of what was excluded cannot be left out of a subscription.
        if !self.levels.contains(level) {
            self.status.other_levels(1);
            return None;
        }
        let decoded = match decode(bytes) {
            Ok(decoded) => decoded,
            Err(why) => {
                self.status.bad_frames(1);
                self.complaints.add(&format!("frame: {why}"), 1);
                return None;
            }
        };
        for why in &decoded.skipped {
            self.status.bad_rows(1);
            self.complaints.add(&format!("row: {why}"), 1);
        }
        Some((level, decoded.frame))
    }

    /// Nanoseconds since the worker started: what is asked must not depend on steps of the wall clock.
    fn elapsed(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Settles, and wakes the sender if there is something to send.
    async fn settle(&mut self, backend: OwnedMutexGuard<B>, force: bool) -> Result<Outcome, Error> {
        let outcome = self.with_settler(move |settler| settler.settle(&*backend, now(), force)).await;
        let outcome = match outcome {
            // Nothing was written, so it is not known whether it could have been.
            Ok(idle @ (Outcome::Nothing | Outcome::TooEarly { .. } | Outcome::Full)) => Some(idle),
            other => self.disk.tolerate(other)?,
        };
        let Some(outcome) = outcome else { return Ok(Outcome::Nothing) };
        if !matches!(outcome, Outcome::Full) {
            self.status.set_settled(clock::unix_nanos());
        }
        match outcome {
            Outcome::Settled { batches, dead, beyond, .. } => {
                self.status.settlements(1);
                self.status.dead_letters(dead);
                if dead > 0 {
                    self.complaints.add("series cannot be stored", dead as u64);
                }
                if beyond > 0 {
                    let one = self.settler.as_ref().and_then(|settler| settler.left_out());
                    let one = one.map(|series| format!("{} of {}", series.name, series.source));
                    let reason = "series: no room for more; --max-series gives it";
                    self.complaints.add_from(reason, beyond as u64, one.as_deref());
                }
                if batches > 0 {
                    // The sender may be waiting out an outage, in which the outbox grows.
                    let waiting = self.with_settler(|settler| settler.state().waiting()).await;
                    if let Some(waiting) = self.disk.tolerate(waiting)? {
                        self.status.set_outbox_batches(waiting as u64);
                    }
                    self.sending.wake.notify_one();
                }
            }
            Outcome::Full => {
                self.status.outbox_full(1);
                tracing::debug!("the outbox is full, so nothing is settled");
            }
            Outcome::Nothing | Outcome::TooEarly { .. } => {}
        }
        Ok(outcome)
    }

    async fn tick(&mut self, elapsed: Duration) -> Result<(), Error> {
        self.turns.turned();
        self.tell();
        if let Some(own) = &self.own {
            own.send_events(clock::unix_nanos(), false);
        }
        self.ask();
        let answered = self.asking.is_answered(self.elapsed());
        let first = self
            .with_settler(move |settler| {
                if answered {
                    settler.run(elapsed.as_nanos() as u64);
                }
                settler.make_room();
                settler.first_sights()
            })
            .await;
        if !matches!(first, Ok(0))
            && let Some(first) = self.disk.tolerate(first)?
        {
            tracing::debug!(instances = first, "older instances count from now");
        }
        Ok(())
    }

    fn ask(&mut self) {
        for (broker, message) in self.asking.due(self.elapsed()) {
            if let Some(asker) = self.askers.get(broker) {
                // A full queue means that the broker is away; then the next question will do.
                let _ = asker.questions.try_send(message);
            }
        }
    }

    /// What the worker knows of itself, for its admin port and for brokers.
    fn tell(&mut self) {
        if let Some(settler) = &self.settler {
            let lost = settler.state().batches_lost();
            let more = usize::try_from(lost - self.batches_lost).unwrap_or(0);
            self.status.state_damaged(more);
            self.status.state_batches_lost(more);
            self.batches_lost = lost;
        }
        if let (Some(own), Some(settler)) = (&self.own, &self.settler) {
            let told = own::Told {
                status: &self.status,
                ledger: settler.ledger(),
                complaints: &self.complaints,
                heard: &self.vitals.heard,
                misses: self.feed.misses(),
                held_bytes: self.held_bytes,
                state_failing: self.disk.is_failing(),
            };
            // As every sender's, its times run on a clock that is never stepped.
            self.vitals.set_rows(own.rows(clock::unix_nanos(), &told));
        }
    }

    /// Sends the worker's own metrics.
    fn send_own(&mut self, last: bool) {
        self.tell();
        if let Some(own) = &mut self.own {
            own.send(clock::unix_nanos(), &self.vitals.rows(), last);
        }
    }

    fn name(&self, broker: usize) -> String {
        self.brokers.get(broker).map(ToString::to_string).unwrap_or_default()
    }

    /// Settles once more and sends what can be sent at once.
    async fn end(&mut self) -> Result<(), Error> {
        let deadline = tokio::time::Instant::now() + STOPPING;
        // Whatever has arrived belongs to it, but not what keeps coming.
        let arrived = Instant::now() + ARRIVED;
        while Instant::now() < arrived
            && let Ok(event) = timeout(Duration::ZERO, self.feed.recv()).await
        {
            self.on_event(event)?;
        }
        let free = |backend: &Arc<Mutex<B>>| backend.clone().lock_owned();
        let backend = match timeout(LAST_REQUEST, free(&self.backend)).await {
            Ok(backend) => Some(backend),
            Err(_) => {
                // Then at least it is all in the outbox.
                self.sending.give_up();
                tokio::time::timeout_at(deadline, free(&self.backend)).await.ok()
            }
        };
        if let Some(backend) = backend {
            self.merge_held(&backend)?;
            self.settle(backend, true).await?;
        }
        self.sending.end(deadline).await?;
        let waiting = self.with_settler(|settler| settler.state().waiting()).await?;
        if waiting > 0 {
            tracing::warn!(
                batches = waiting,
                "not everything could be sent; the rest is sent after the next start"
            );
        }
        self.send_own(true);
        if let Some(own) = self.own.take() {
            own.send_events(clock::unix_nanos(), true);
            own.close(Duration::from_millis(200)).await;
        }
        self.askers.clear();
        Ok(())
    }

    /// Does something with the settler that waits for the disk.
    async fn with_settler<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Settler) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let Some(mut settler) = self.settler.take() else {
            return Err(Error::Task { why: "the ledger was lost in a task that panicked".into() });
        };
        let (settler, result) = blocking(move || {
            let result = work(&mut settler);
            Ok((settler, result))
        })
        .await?;
        self.settler = Some(settler);
        result
    }
}

/// Waits for a future, if there is one.
async fn ready<F: Future>(future: Pin<&mut Option<F>>) -> Option<F::Output> {
    match future.as_pin_mut() {
        Some(future) => Some(future.await),
        None => None,
    }
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// The next time of a regular series that is not over yet.
fn advance(last: tokio::time::Instant, period: Duration) -> tokio::time::Instant {
    let now = tokio::time::Instant::now();
    let next = last + period;
    if next > now { next } else { now + period }
}

/// Whether the state directory can be written. While it cannot, nothing is lost: the totals wait in the ledger. Who
/// settles and who sends have one each, which know of each other, so that one trouble is told once.
#[derive(Debug)]
struct Disk {
    own: u8,
    /// Who has found it failing.
    failing: Arc<AtomicU8>,
    status: Arc<Status>,
}

impl Disk {
    /// For who settles, and for who sends.
    fn two(status: &Arc<Status>, failing: &Arc<AtomicU8>) -> [Disk; 2] {
        [1, 2].map(|own| Disk { own, failing: failing.clone(), status: status.clone() })
    }

    fn is_failing(&self) -> bool {
        self.failing.load(Relaxed) != 0
    }

    /// The value, or nothing where the disk failed, which is told once; other failures are passed on.
    fn tolerate<T>(&self, result: Result<T, Error>) -> Result<Option<T>, Error> {
        match result {
            Ok(value) => {
                if self.failing.fetch_and(!self.own, Relaxed) == self.own {
                    tracing::info!("the state directory can be used again");
                }
                Ok(Some(value))
            }
            Err(why) if why.is_damage() => Err(why),
            Err(why @ (Error::Database { .. } | Error::File { .. })) => {
                self.status.state_failures(1);
                if self.failing.fetch_or(self.own, Relaxed) == 0 {
                    tracing::error!("failed to {why}; nothing is settled until that is repaired");
                }
                Ok(None)
            }
            Err(why) => Err(why),
        }
    }
}

/// The task with the connection for asking one broker.
struct AskerTask {
    questions: mpsc::Sender<Message>,
    task: JoinHandle<()>,
}

impl AskerTask {
    fn start(index: usize, broker: &Broker, answers: mpsc::Sender<(usize, Message)>) -> Self {
        let mut asker = Asker::start(broker);
        let (questions, mut asked) = mpsc::channel(4);
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    question = asked.recv() => match question {
                        Some(question) => {
                            asker.send(question);
                        }
                        None => break,
                    },
                    answer = asker.recv() => {
                        if answers.send((index, answer)).await.is_err() {
                            break;
                        }
                    }
                }
            }
        });
        AskerTask { questions, task }
    }
}

impl Drop for AskerTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The task that sends what is in the outbox.
struct Sending {
    wake: Arc<Notify>,
    stop: Arc<Notify>,
    task: JoinHandle<Result<(), Error>>,
}

impl Sending {
    fn start<B: Backend>(mut sender: Sender<B>, disk: Disk, sends: Arc<Loop>) -> Sending {
        let (wake, stop) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (woken, stopped) = (wake.clone(), stop.clone());
        let work = async move {
            loop {
                let sent = {
                    let _working = sends.working();
                    sender.step().await
                };
                let (wait, wakes) = match disk.tolerate(sent)? {
                    Some(Sent::Batch) => continue,
                    Some(Sent::Later(wait)) => (wait, false),
                    Some(Sent::Nothing) => (ASLEEP, true),
                    None => (DISK, false),
                };
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = woken.notified(), if wakes => {}
                    () = stopped.notified() => break,
                }
            }
            sender.drain().await.map(drop)
        };
        let task = tokio::spawn(work.in_current_span());
        Sending { wake, stop, task }
    }

    /// Done when the task fails, for good; it does nothing else before it is told to end.
    async fn failed(&mut self) -> Error {
        match (&mut self.task).await {
            Ok(Err(why)) => why,
            Ok(Ok(())) => Error::Task { why: "sending ended by itself".into() },
            Err(why) => Error::Task { why: format!("sending: {why}") },
        }
    }

    /// Lets the backend go. The request that is under way is repeated after the next start.
    fn give_up(&self) {
        self.task.abort();
    }

    /// Sends what can be sent until `deadline`.
    async fn end(&mut self, deadline: tokio::time::Instant) -> Result<(), Error> {
        self.stop.notify_one();
        match tokio::time::timeout_at(deadline, &mut self.task).await {
            Ok(Ok(result)) => result,
            Ok(Err(why)) if why.is_cancelled() => Ok(()),
            Ok(Err(why)) => Err(Error::Task { why: format!("sending: {why}") }),
            Err(_) => {
                // The request that is under way is repeated after the next start, which may be at once: nothing of the
                // state directory or the backend may be in use by then.
                self.task.abort();
                let _ = timeout(GONE, &mut self.task).await;
                Ok(())
            }
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.task.abort();
    }
}
