//! A way between ZeroMQ's ends on which messages get lost, come twice, late and in another order, and connections hang,
//! break and are refused.
//!
//! It stands before the three ports of a broker, and knows whole messages: what it does to one it does to all of its frames,
//! as a network under TCP never would, but as ZeroMQ itself does where it drops.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::monotonic;
use crate::random::Random;
use crate::witness::{Log, Seen, seen};
use crate::zmtp::{GREETING, Unit, take};

/// What happens on a way.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Weather {
    /// The share of messages that are lost.
    pub drop: f64,
    /// The share of messages that come twice.
    pub duplicate: f64,
    /// By how much all messages are late; they stay in their order.
    pub delay: Duration,
    /// The share of messages that come later than those behind them.
    pub reorder: f64,
    /// How late those come at most.
    pub latest: Duration,
    /// Nothing moves, and nothing is said of it.
    pub hang: bool,
    /// Nobody listens, and connections that there are get reset.
    pub refuse: bool,
    /// Connections of before this number changed are reset.
    pub resets: u64,
}

/// What has been done to messages and connections.
#[derive(Debug, Default)]
pub struct Counts {
    messages: AtomicU64,
    dropped: AtomicU64,
    duplicated: AtomicU64,
    delayed: AtomicU64,
    reordered: AtomicU64,
    altered: AtomicU64,
    frames_lost: AtomicU64,
    connections: AtomicU64,
    resets: AtomicU64,
}

/// The same at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Messages that came.
    pub messages: u64,
    /// Messages that were dropped.
    pub dropped: u64,
    /// Messages that were sent twice.
    pub duplicated: u64,
    /// Messages that were held for a while.
    pub delayed: u64,
    /// Messages that were sent behind a later one.
    pub reordered: u64,
    /// Encrypted messages in which a bit was turned over.
    pub altered: u64,
    /// Of those that were dropped or altered: how many were frames, not questions or their answers.
    pub frames_lost: u64,
    /// Connections that were taken.
    pub connections: u64,
    /// Connections that were reset.
    pub resets: u64,
}

impl Figures {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Figures) -> Figures {
        Figures {
            messages: self.messages + other.messages,
            dropped: self.dropped + other.dropped,
            duplicated: self.duplicated + other.duplicated,
            delayed: self.delayed + other.delayed,
            reordered: self.reordered + other.reordered,
            altered: self.altered + other.altered,
            frames_lost: self.frames_lost + other.frames_lost,
            connections: self.connections + other.connections,
            resets: self.resets + other.resets,
        }
    }
}

/// Which messages may be harmed: subscriptions, which older ends send as messages, may not, because nobody repeats them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    ToBroker,
    FromBroker,
    Both,
}

/// Bytes that may wait on their way; of more, none are read.
const WAITING: usize = 64 << 20;

/// A way to a broker's three ports, from three of its own.
#[derive(Debug)]
pub struct Hop {
    port: u16,
    weather: watch::Sender<Weather>,
    counts: Arc<Counts>,
    log: Arc<Mutex<Log>>,
}

impl Hop {
    /// Listens on `port` and the two behind it, and passes everything on to those of `target`. Where that is encrypted,
    /// messages are altered as well as dropped, and what counts as one may be a part of one.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(runtime: &Handle, port: u16, target: u16, seed: u64, is_encrypted: bool) -> io::Result<Hop> {
        let (weather, told) = watch::channel(Weather::default());
        let counts = Arc::new(Counts::default());
        let log = Arc::new(Mutex::new(Log::new()));
        for (offset, harm) in [(0, Harm::ToBroker), (1, Harm::FromBroker), (2, Harm::Both)] {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port + offset))?;
            listener.set_nonblocking(true)?;
            let random = Random::new(seed, &format!("hop {port} {offset}"));
            let (port, target, counts) = (port + offset, target + offset, counts.clone());
            let way = Way { port, target, harm, is_encrypted, counts, log: log.clone() };
            runtime.spawn(way.serve(listener, told.clone(), random));
        }
        Ok(Hop { port, weather, counts, log })
    }

    /// What was seen to be handed to the broker, where that is not encrypted.
    pub fn log(&self) -> Log {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What `--broker` takes.
    pub fn url(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }

    /// What happens from now on, also to connections that there are.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// What happens now.
    pub fn weather(&self) -> Weather {
        *self.weather.borrow()
    }

    /// What has been done.
    pub fn figures(&self) -> Figures {
        let Counts {
            messages,
            dropped,
            duplicated,
            delayed,
            reordered,
            altered,
            frames_lost,
            connections,
            resets,
        } = &*self.counts;
        let read = |count: &AtomicU64| count.load(Relaxed);
        Figures {
            messages: read(messages),
            dropped: read(dropped),
            duplicated: read(duplicated),
            delayed: read(delayed),
            reordered: read(reordered),
            altered: read(altered),
            frames_lost: read(frames_lost),
            connections: read(connections),
            resets: read(resets),
        }
    }
}

#[derive(Debug, Clone)]
struct Way {
    port: u16,
    target: u16,
    harm: Harm,
    is_encrypted: bool,
    counts: Arc<Counts>,
    log: Arc<Mutex<Log>>,
}

impl Way {
    async fn serve(
        self,
        listener: std::net::TcpListener,
        mut told: watch::Receiver<Weather>,
        mut random: Random,
    ) {
        let mut listener = TcpListener::from_std(listener).ok();
        loop {
            if told.borrow_and_update().refuse {
                listener = None;
            } else if listener.is_none() {
                listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await.ok();
                if listener.is_none() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                }
            }
            let accept = async {
                match &listener {
                    Some(listener) => listener.accept().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = told.changed() => if changed.is_err() {
                    return;
                },
                accepted = accept => if let Ok((client, _)) = accepted {
                    self.counts.connections.fetch_add(1, Relaxed);
                    tokio::spawn(self.clone().connection(client, told.clone(), random.next()));
                },
            }
        }
    }

    async fn connection(self, mut client: TcpStream, mut told: watch::Receiver<Weather>, seed: u64) {
        let resets = told.borrow_and_update().resets;
        let Ok(mut broker) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.target)).await else {
            // It cannot be reset before it is dropped, and nothing was said on it.
            let _ = client.set_zero_linger();
            return;
        };
        // Without it small messages would wait for each other; where it fails they do.
        let _ = (client.set_nodelay(true), broker.set_nodelay(true));
        let (from_client, to_client) = client.split();
        let (from_broker, to_broker) = broker.split();
        let up = Pump::new(self.harm != Harm::FromBroker, &self, told.clone(), Random::new(seed, "up"));
        let down = Pump::new(self.harm != Harm::ToBroker, &self, told.clone(), Random::new(seed, "down"));
        let both =
            async { tokio::try_join!(up.run(from_client, to_broker), down.run(from_broker, to_client)) };
        let is_reset = tokio::select! {
            // It ends with the hop, too.
            _ = told.wait_for(|weather| weather.refuse || weather.resets != resets) => true,
            ended = both => ended.is_err(),
        };
        if is_reset {
            self.counts.resets.fetch_add(1, Relaxed);
            let _ = (client.set_zero_linger(), broker.set_zero_linger());
        }
    }
}

/// Bytes on their way.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Late {
    release: Instant,
    number: u64,
    bytes: Bytes,
    seen: Option<Seen>,
}

/// One direction of a connection.
struct Pump<'a> {
    harm: bool,
    is_encrypted: bool,
    has_frames: bool,
    log: Option<&'a Mutex<Log>>,
    counts: &'a Counts,
    told: watch::Receiver<Weather>,
    random: Random,
    waiting: BinaryHeap<Reverse<Late>>,
    waiting_bytes: usize,
    number: u64,
    /// When the latest of those is released that stay in their order.
    last: Option<Instant>,
}

impl<'a> Pump<'a> {
    fn new(harm: bool, way: &'a Way, told: watch::Receiver<Weather>, random: Random) -> Pump<'a> {
        let is_read = way.harm == Harm::ToBroker && !way.is_encrypted;
        Pump {
            harm,
            is_encrypted: way.is_encrypted,
            has_frames: way.harm != Harm::Both,
            log: is_read.then_some(&*way.log),
            counts: &way.counts,
            told,
            random,
            waiting: BinaryHeap::new(),
            waiting_bytes: 0,
            number: 0,
            last: None,
        }
    }

    async fn run(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
        let mut read = BytesMut::with_capacity(64 << 10);
        let mut greeting = GREETING;
        let (mut ended, mut newest) = (false, 0);
        loop {
            let weather = *self.told.borrow_and_update();
            if weather.hang {
                if self.told.changed().await.is_err() {
                    return Ok(());
                }
                continue;
            }
            if greeting > 0 && !read.is_empty() {
                let part = read.split_to(greeting.min(read.len())).freeze();
                greeting -= part.len();
                self.hold(part, Duration::ZERO);
            }
            while let Some(unit) = take(&mut read).filter(|_| greeting == 0) {
                self.decide(unit, &weather);
            }
            while self.waiting.peek().is_some_and(|Reverse(first)| first.release <= Instant::now()) {
                let Some(Reverse(late)) = self.waiting.pop() else { break };
                self.waiting_bytes -= late.bytes.len();
                if late.number < newest {
                    self.counts.reordered.fetch_add(1, Relaxed);
                }
                newest = newest.max(late.number);
                to.write_all(&late.bytes).await?;
                if let (Some(log), Some(seen)) = (self.log, late.seen) {
                    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                    log.entry(seen.source).or_default().push((monotonic(), seen.batches));
                }
            }
            if ended && self.waiting.is_empty() {
                return to.shutdown().await;
            }
            let next = self.waiting.peek().map(|Reverse(first)| first.release);
            tokio::select! {
                changed = self.told.changed() => if changed.is_err() {
                    return Ok(());
                },
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
                count = from.read_buf(&mut read), if !ended && self.waiting_bytes < WAITING => {
                    ended = count? == 0;
                }
            }
        }
    }

    /// What becomes of a unit.
    fn decide(&mut self, unit: Unit, weather: &Weather) {
        let message = match unit {
            Unit::Command(bytes) => return self.hold(bytes, weather.delay),
            Unit::Message(bytes) => bytes,
        };
        self.counts.messages.fetch_add(1, Relaxed);
        if !self.harm {
            return self.hold(message, weather.delay);
        }
        if self.random.chance(weather.drop) {
            self.counts.frames_lost.fetch_add(u64::from(self.has_frames), Relaxed);
            if self.is_encrypted && self.random.chance(0.5) {
                self.counts.altered.fetch_add(1, Relaxed);
                let altered = self.altered(&message);
                return self.hold(altered, weather.delay);
            }
            self.counts.dropped.fetch_add(1, Relaxed);
            return;
        }
        if self.random.chance(weather.duplicate) {
            self.counts.duplicated.fetch_add(1, Relaxed);
            self.hold_apart(message.clone(), weather);
        }
        if self.random.chance(weather.reorder) {
            self.counts.delayed.fetch_add(1, Relaxed);
            return self.hold_apart(message, weather);
        }
        if !weather.delay.is_zero() {
            self.counts.delayed.fetch_add(1, Relaxed);
        }
        self.hold(message, weather.delay);
    }

    /// The same with one bit turned over, wherever.
    fn altered(&mut self, message: &[u8]) -> Bytes {
        let mut bytes = BytesMut::from(message);
        let bit = self.random.within(0, message.len() as u64 * 8 - 1) as usize;
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes.freeze()
    }

    /// Lets it go at its turn.
    fn hold(&mut self, bytes: Bytes, delay: Duration) {
        let release = Instant::now() + delay;
        let release = self.last.map_or(release, |last| last.max(release));
        self.last = Some(release);
        self.push(bytes, release);
    }

    /// Lets it go when it likes.
    fn hold_apart(&mut self, bytes: Bytes, weather: &Weather) {
        let late = weather.latest.mul_f64(self.random.share());
        self.push(bytes, Instant::now() + weather.delay + late);
    }

    fn push(&mut self, bytes: Bytes, release: Instant) {
        self.number += 1;
        self.waiting_bytes += bytes.len();
        let seen = self.log.and_then(|_| seen(&bytes));
        self.waiting.push(Reverse(Late { release, number: self.number, bytes, seen }));
    }
}
