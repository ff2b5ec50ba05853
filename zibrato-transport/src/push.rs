//! Frames on their way to the broker.
//!
//! What PUSH of `zeromq` 0.7 leaves to its user, and what is done about it here:
//!
//! - It does not reconnect, and `Ok` from its `send` means queued: one task owns the socket, makes a new
//!   one when the writer reports an error, and gives it the frames of the last moments again.
//! - Its queue is 100,000 messages: [`Window`] keeps it at one batch, and [`Outbound`] bounds the rest.
//! - It reads nothing, so it learns of a peer's end from a failing write only. Where the writer gets no
//!   further for 10 s, and once a minute while it is in use, the task connects anew: the handshake is the proof
//!   that someone is there. The old socket is dropped only when a new one is connected, for a stopped peer
//!   may go on, and a writer that is stuck cannot be ended from outside.
//! - Its writer goes on when the socket is dropped, and only its end says that all is with the kernel.

use crate::backoff::{Backoff, jittered};
use crate::connect::{Dialer, Link};
use crate::outbound::{Outbound, Outgoing};
use crate::refusals::Refusals;
use crate::window::Window;
use crate::{Broker, outbound};
use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::select;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use zeromq::{PushSocket, SocketEvent};

pub use outbound::Limits;

/// How long a connection is trusted on which nothing ever comes back.
#[derive(Debug, Clone, Copy)]
struct Trust {
    /// A writer that takes nothing for so long is taken for stuck.
    stall: Duration,
    /// A connection that is used for so long is replaced by one with a new handshake.
    renewal: Duration,
}

/// A frame of 1 MiB passes within the first at 1 Mbit/s.
const TRUST: Trust = Trust { stall: Duration::from_secs(10), renewal: Duration::from_secs(60) };
/// A connection that lived for so long makes the next attempts start quickly again.
const LIVED: Duration = Duration::from_secs(1);
/// Most sockets that were replaced and whose writers have not ended.
const REPLACED: usize = 2;
/// The frames given to a socket last, which are sent again when its connection fails.
const TAIL: Limits = Limits { messages: 256, bytes: 1 << 20, age: Duration::from_secs(5) };

/// What a [`Push`] has done since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PushStats {
    /// Frames given to ZeroMQ, each counted once. The last ones may be lost if the connection fails.
    pub sent: u64,
    /// Frames that were offered and never sent: displaced by newer ones, too old, or larger than the limit.
    pub dropped: u64,
    /// Connections made after the first, because the one before failed or was not trusted any more.
    pub reconnects: u64,
    /// Whether there is a connection, and it is not in doubt. That a broker has gone is learnt by sending.
    pub connected: bool,
    /// Protected connections that either side has refused, or that ended because what came was altered on the way.
    pub refused: u64,
    /// Bytes that wait in front of the socket.
    pub waiting: usize,
}

/// The end that sends frames to one broker.
#[derive(Debug)]
pub struct Push {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    outbound: Mutex<Outbound>,
    wake: Notify,
    closing: AtomicBool,
    sent: AtomicU64,
    dropped: AtomicU64,
    reconnects: AtomicU64,
    connected: AtomicBool,
    trouble: Mutex<Option<String>>,
    refusals: Arc<Refusals>,
}

impl Push {
    /// Starts sending to `broker`, now or whenever it appears.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(broker: &Broker) -> Push {
        Self::with_limits(broker, Limits::default())
    }

    /// Starts with other limits of what may wait.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn with_limits(broker: &Broker, limits: Limits) -> Push {
        Self::with_trust(broker, limits, TRUST)
    }

    fn with_trust(broker: &Broker, limits: Limits, trust: Trust) -> Push {
        let shared = Arc::new(Shared {
            outbound: Mutex::new(Outbound::new(limits)),
            wake: Notify::new(),
            closing: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            reconnects: AtomicU64::new(0),
            connected: AtomicBool::new(false),
            trouble: Mutex::new(None),
            refusals: Arc::default(),
        });
        let sender = Sender {
            shared: shared.clone(),
            trust,
            dialer: Dialer::new(broker, 0, Vec::new(), shared.refusals.clone()),
            backoff: Backoff::new(),
            retry_at: Instant::now(),
            tail: VecDeque::new(),
            tail_bytes: 0,
            replaced: Vec::new(),
        };
        Push { shared, task: tokio::spawn(sender.run()) }
    }

    /// Puts a frame on its way under a topic; never blocks, from whatever thread.
    ///
    /// Where too much waits, the oldest frames make room, in long runs: a frame carries state, so a newer
    /// one says all that an older one does, and refusing the newest would deliver what is out of date.
    /// `false` only for a frame that alone exceeds the limit.
    pub fn offer(&self, topic: &str, frame: Bytes) -> bool {
        let outgoing = Outgoing::new(vec![Bytes::copy_from_slice(topic.as_bytes()), frame]);
        let mut outbound = self.shared.outbound();
        let mut dropped = outbound.expire(outgoing.since);
        if !outbound.fits(&outgoing) {
            dropped += outbound.halve();
            while !outbound.fits(&outgoing)
                && let Some(oldest) = outbound.pop()
            {
                dropped += u64::from(!oldest.again);
            }
        }
        let taken = outbound.push(outgoing);
        drop(outbound);
        self.shared.dropped.fetch_add(dropped + u64::from(!taken), Relaxed);
        self.shared.wake.notify_one();
        taken
    }

    /// What happened up to now.
    pub fn stats(&self) -> PushStats {
        PushStats {
            sent: self.shared.sent.load(Relaxed),
            dropped: self.shared.dropped.load(Relaxed),
            reconnects: self.shared.reconnects.load(Relaxed),
            connected: self.shared.connected.load(Relaxed),
            refused: self.shared.refusals.count(),
            waiting: self.shared.outbound().bytes(),
        }
    }

    /// Why there is no connection, in words that fit after "failed to"; `None` while there is one.
    pub fn trouble(&self) -> Option<String> {
        self.shared.trouble().clone()
    }

    /// Writes out what waits, for `deadline` at most, and ends.
    ///
    /// `true` if nothing is left: every frame that was not dropped before has been handed to the kernel.
    /// (Should the peer reset the connection within the very last write, of at most 128 KiB and a frame,
    /// nobody is told; what the kernel had taken before would be lost as well.)
    pub async fn close(mut self, deadline: Duration) -> bool {
        let expired = self.shared.outbound().expire(Instant::now());
        self.shared.dropped.fetch_add(expired, Relaxed);
        self.shared.closing.store(true, Relaxed);
        self.shared.wake.notify_one();
        matches!(timeout(deadline, &mut self.task).await, Ok(Ok(())))
    }
}

impl Drop for Push {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn outbound(&self) -> MutexGuard<'_, Outbound> {
        self.outbound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn closing(&self) -> bool {
        self.closing.load(Relaxed)
    }

    fn connected(&self, trouble: Option<String>) {
        self.connected.store(trouble.is_none(), Relaxed);
        *self.trouble() = trouble;
    }

    fn next(&self) -> Option<Outgoing> {
        let mut outbound = self.outbound();
        if !self.closing() {
            self.dropped.fetch_add(outbound.expire(Instant::now()), Relaxed);
        }
        outbound.pop()
    }
}

/// The task that owns the socket.
struct Sender {
    shared: Arc<Shared>,
    trust: Trust,
    dialer: Dialer<PushSocket>,
    backoff: Backoff,
    retry_at: Instant,
    /// What was given to the socket last; the newest of it may not be written.
    tail: VecDeque<Outgoing>,
    tail_bytes: usize,
    replaced: Vec<Replaced>,
}

/// A connection in use.
struct Live {
    link: Link<PushSocket>,
    window: Arc<Window>,
    since: Instant,
    /// It was given something.
    used: bool,
    /// When its writer got on last, and how far.
    progress: (Instant, usize),
    renew_at: Instant,
    /// Nothing goes out any more, or nobody answers a new handshake.
    doubted: bool,
    trust: Trust,
}

/// The monitor of a socket that was replaced; it ends when all of that socket is written.
struct Replaced {
    monitor: mpsc::Receiver<SocketEvent>,
    /// What was given to it was not given to its successor.
    needed: bool,
}

impl Live {
    fn new(link: Link<PushSocket>, trust: Trust) -> Self {
        let now = Instant::now();
        Live {
            link,
            window: Arc::default(),
            since: now,
            used: false,
            progress: (now, 0),
            renew_at: now + jittered(trust.renewal),
            doubted: false,
            trust,
        }
    }

    /// When its writer is taken for stuck; `None` while it has nothing to do.
    fn stalls_at(&mut self) -> Option<Instant> {
        let waits = self.window.messages() > 0;
        let taken = self.window.taken();
        if !waits || taken != self.progress.1 {
            self.progress = (Instant::now(), taken);
        }
        (waits && !self.doubted).then(|| self.progress.0 + self.trust.stall)
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Sender {
    /// Ends when it is told to and everything is written.
    async fn run(mut self) {
        while let Some(link) = self.connection().await {
            if self.serve(Live::new(link, self.trust)).await {
                break;
            }
            let why = self.shared.refusals.take().unwrap_or_else(|| "the broker closed it".into());
            self.shared.connected(Some(format!("keep the connection: {why}")));
            self.shared.reconnects.fetch_add(1, Relaxed);
            self.again();
        }
        for mut replaced in self.replaced.into_iter().filter(|r| r.needed) {
            while replaced.monitor.next().await.is_some() {}
        }
    }

    /// A new connection, or `None` where none is needed any more.
    async fn connection(&mut self) -> Option<Link<PushSocket>> {
        loop {
            if self.shared.closing() && self.shared.outbound().is_empty() {
                return None;
            }
            let waiting = self.retry_at > Instant::now();
            select! {
                () = sleep_until(self.retry_at), if waiting => {}
                result = self.dialer.dial(), if !waiting => match result {
                    Ok(link) => {
                        self.shared.connected(None);
                        return Some(link);
                    }
                    Err(trouble) => {
                        self.shared.connected(Some(trouble));
                        self.retry_at = Instant::now() + self.backoff.delay();
                    }
                },
                () = self.shared.wake.notified() => {}
            }
        }
    }

    /// Uses a connection until it fails (`false`), or all is written and the end was asked for (`true`).
    async fn serve(&mut self, mut live: Live) -> bool {
        loop {
            if !self.fill(&mut live).await {
                return self.failed(&live);
            }
            self.trim(live.window.messages());
            if self.shared.closing() && self.shared.outbound().is_empty() && live.window.messages() == 0 {
                let Link { socket, mut monitor } = live.link;
                while let Ok(event) = monitor.try_recv() {
                    if matches!(event, SocketEvent::Disconnected(_)) {
                        return false;
                    }
                }
                drop(socket);
                self.replaced.push(Replaced { monitor, needed: true });
                return true;
            }
            self.replaced.retain_mut(|r| !ended(&mut r.monitor));
            let renewing = Instant::now() >= live.renew_at
                && (live.used || live.doubted)
                && self.replaced.len() < REPLACED;
            let stalls_at = live.stalls_at();
            select! {
                biased;
                event = live.link.monitor.next() => match event {
                    Some(SocketEvent::Disconnected(_)) | None => return self.failed(&live),
                    Some(_) => {}
                },
                result = self.dialer.dial(), if renewing => match result {
                    Ok(link) => self.replace(&mut live, link),
                    Err(trouble) => {
                        live.doubted = true;
                        live.renew_at = Instant::now() + self.backoff.delay();
                        self.shared.connected(Some(trouble));
                    }
                },
                () = self.shared.wake.notified() => {}
                () = live.window.progress() => {}
                () = until(stalls_at) => {
                    live.doubted = true;
                    live.renew_at = Instant::now();
                    self.shared.connected(Some("send: the broker takes nothing".into()));
                }
                () = sleep_until(live.renew_at), if !renewing && live.renew_at > Instant::now() => {}
            }
        }
    }

    /// Gives the socket as much as it should have; `false` where it refuses.
    async fn fill(&mut self, live: &mut Live) -> bool {
        while live.window.has_room() {
            let Some(mut next) = self.shared.next() else { break };
            let Some(message) = live.window.track(next.parts.clone()) else { continue };
            self.shared.sent.fetch_add(u64::from(!next.again), Relaxed);
            next.again = true;
            self.tail_bytes += next.size();
            self.tail.push_back(next);
            live.used = true;
            // The window keeps the socket's queue so short that this does not wait.
            if live.link.socket.send(message).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Forgets what needs not be sent again; the newest `unwritten` are kept.
    fn trim(&mut self, unwritten: usize) {
        let now = Instant::now();
        while self.tail.len() > unwritten
            && let Some(oldest) = self.tail.front()
            && (self.tail.len() > TAIL.messages
                || self.tail_bytes > TAIL.bytes
                || now.duration_since(oldest.since) > TAIL.age)
        {
            self.tail_bytes -= oldest.size();
            self.tail.pop_front();
        }
    }

    /// Puts what was given last before what waits.
    fn again(&mut self) {
        let mut outbound = self.shared.outbound();
        for outgoing in self.tail.drain(..).rev() {
            outbound.push_front(outgoing);
        }
        self.tail_bytes = 0;
    }

    fn failed(&mut self, live: &Live) -> bool {
        if live.since.elapsed() > LIVED {
            self.backoff.reset();
        }
        self.retry_at = Instant::now() + self.backoff.delay();
        false
    }

    fn replace(&mut self, live: &mut Live, link: Link<PushSocket>) {
        let old = std::mem::replace(live, Live::new(link, self.trust));
        self.replaced.push(Replaced { monitor: old.link.monitor, needed: !old.doubted });
        if old.doubted {
            self.again();
            self.shared.reconnects.fetch_add(1, Relaxed);
        }
        self.backoff.reset();
        self.shared.connected(None);
    }
}

fn ended(monitor: &mut mpsc::Receiver<SocketEvent>) -> bool {
    loop {
        match monitor.try_recv() {
            Ok(_) => {}
            Err(error) => return error.is_closed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[tokio::test]
    async fn a_connection_that_is_renewed_all_the_time_loses_nothing() {
        let pull = omq_tokio::Socket::new(omq_tokio::SocketType::Pull, omq_tokio::Options::default());
        let at = pull.bind("tcp://127.0.0.1:0").await.unwrap().to_string();
        let broker = Broker::new("127.0.0.1", at.rsplit(':').next().unwrap().parse().unwrap());
        let often = Trust { renewal: Duration::from_millis(10), ..TRUST };
        let patient = Limits { age: Duration::from_secs(60), ..Limits::default() };
        let push = Push::with_trust(&broker, patient, often);
        let reader = tokio::spawn(async move {
            let mut missing: HashSet<u32> = (0..1000).collect();
            while !missing.is_empty() {
                let message = pull.recv().await.unwrap();
                let frame: [u8; 4] = message.get(1).unwrap().try_into().unwrap();
                assert!(missing.remove(&u32::from_be_bytes(frame)), "comes once, as nothing failed");
            }
        });
        for i in 0..1000u32 {
            assert!(push.offer("info|", Bytes::copy_from_slice(&i.to_be_bytes())));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(push.stats().reconnects, 0);
        assert!(push.close(Duration::from_secs(60)).await);
        timeout(Duration::from_secs(60), reader).await.unwrap().unwrap();
    }
}
