//! Questions and answers, hand-overs and acknowledgements.
//!
//! DEALER of `zeromq` 0.7 does not reconnect either, and its `recv` waits for ever after its peer has gone:
//! one task owns the socket and makes a new one when its monitor or an error says so, when its writer is
//! stuck, or when a broker that was told something says nothing for [`UNANSWERED`].

use crate::Broker;
use crate::backoff::Backoff;
use crate::connect::{Dialer, Link};
use crate::inbox::{Inbox, Letterbox, inbox};
use crate::outbound::{Limits, Outbound, Outgoing};
use crate::refusals::Refusals;
use crate::window::Window;
use bytes::Bytes;
use futures::StreamExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::select;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use zeromq::{DealerSocket, SocketEvent};
use zibrato_core::ask::Message;

/// A broker that says nothing for so long after it was told something gets a new connection. Every message
/// to the broker has an answer, and askers repeat.
const UNANSWERED: Duration = Duration::from_secs(5);
/// A connection that lived for so long makes the next attempts start quickly again.
const LIVED: Duration = Duration::from_secs(1);
/// What may wait for a connection; what is older the asker has repeated.
const LIMITS: Limits = Limits { bytes: 32 << 20, messages: 4096, age: UNANSWERED };

/// What an [`Asker`] has done since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AskerStats {
    /// Connections made after the first.
    pub reconnects: u64,
    /// Messages of the broker that could not be understood.
    pub malformed: u64,
    /// Whether there is a connection.
    pub connected: bool,
    /// Protected connections that either side has refused, or that ended because what came was altered on the way.
    pub refused: u64,
}

/// The end that asks one broker and hears its answers.
///
/// Messages may be lost in both directions whenever the connection fails; who asks repeats.
#[derive(Debug)]
pub struct Asker {
    shared: Arc<Shared>,
    answers: Inbox<Message>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    outbound: Mutex<Outbound>,
    wake: Notify,
    closing: AtomicBool,
    connects: AtomicU64,
    malformed: AtomicU64,
    connected: AtomicBool,
    trouble: Mutex<Option<String>>,
    refusals: Arc<Refusals>,
}

impl Asker {
    /// Starts a connection to `broker`, now or whenever it appears.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(broker: &Broker) -> Asker {
        let (letterbox, answers) = inbox();
        let shared = Arc::new(Shared {
            outbound: Mutex::new(Outbound::new(LIMITS)),
            wake: Notify::new(),
            closing: AtomicBool::new(false),
            connects: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
            connected: AtomicBool::new(false),
            trouble: Mutex::new(None),
            refusals: Arc::default(),
        });
        let speaker = Speaker {
            shared: shared.clone(),
            dialer: Dialer::new(broker, 2, Vec::new(), shared.refusals.clone()),
            backoff: Backoff::new(),
            retry_at: Instant::now(),
            answers: letterbox,
        };
        Asker { shared, answers, task: tokio::spawn(speaker.run()) }
    }

    /// Puts a message on its way; never blocks, from whatever thread. One that waits already, to the last
    /// byte, is not put beside itself. While there is no connection it waits for 5 s.
    ///
    /// `false` where too much waits: unlike a frame that is pushed, a hand-over or a question is not replaced
    /// by the next one, so what came first goes first.
    pub fn send(&self, message: Message) -> bool {
        let parts: Vec<Bytes> = message.encode().into_iter().map(Bytes::from).collect();
        let mut outbound = self.shared.outbound();
        outbound.expire(Instant::now());
        let taken = outbound.contains(&parts) || outbound.push(Outgoing::new(parts));
        drop(outbound);
        self.shared.wake.notify_one();
        taken
    }

    /// The next message of the broker. May be dropped without losing one.
    pub async fn recv(&mut self) -> Message {
        match self.answers.take().await {
            Some(message) => message,
            None => std::future::pending().await,
        }
    }

    /// What happened up to now.
    pub fn stats(&self) -> AskerStats {
        AskerStats {
            reconnects: self.shared.connects.load(Relaxed).saturating_sub(1),
            malformed: self.shared.malformed.load(Relaxed),
            connected: self.shared.connected.load(Relaxed),
            refused: self.shared.refusals.count(),
        }
    }

    /// Why there is no connection, in words that fit after "failed to"; `None` while there is one.
    pub fn trouble(&self) -> Option<String> {
        self.shared.trouble().clone()
    }

    /// Writes out what waits, for `deadline` at most, and ends; answers are not heard any more. `true` if
    /// everything sent since the present connection was made has been handed to the kernel.
    pub async fn close(mut self, deadline: Duration) -> bool {
        self.shared.closing.store(true, Relaxed);
        self.shared.wake.notify_one();
        // Nobody receives any more, so a task that waits for room goes on.
        self.answers = inbox().1;
        matches!(timeout(deadline, &mut self.task).await, Ok(Ok(())))
    }
}

impl Drop for Asker {
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

    fn finished(&self) -> bool {
        self.closing.load(Relaxed) && self.outbound().is_empty()
    }

    fn next(&self) -> Option<Outgoing> {
        let mut outbound = self.outbound();
        if !self.closing.load(Relaxed) {
            outbound.expire(Instant::now());
        }
        outbound.pop()
    }
}

/// The task that owns the socket.
struct Speaker {
    shared: Arc<Shared>,
    dialer: Dialer<DealerSocket>,
    backoff: Backoff,
    retry_at: Instant,
    answers: Letterbox<Message>,
}

impl Speaker {
    /// Ends when it is told to and everything is written.
    async fn run(mut self) {
        while let Some(link) = self.connection().await {
            let since = Instant::now();
            self.shared.connected.store(true, Relaxed);
            *self.shared.trouble() = None;
            self.shared.connects.fetch_add(1, Relaxed);
            if self.serve(link).await {
                return;
            }
            self.shared.connected.store(false, Relaxed);
            let why = self.shared.refusals.take().unwrap_or_else(|| "the broker closed it".into());
            *self.shared.trouble() = Some(format!("keep the connection: {why}"));
            if since.elapsed() > LIVED {
                self.backoff.reset();
            }
            self.retry_at = Instant::now() + self.backoff.delay();
        }
    }

    /// A new connection, or `None` where none is needed any more.
    async fn connection(&mut self) -> Option<Link<DealerSocket>> {
        loop {
            if self.shared.finished() {
                return None;
            }
            let waiting = self.retry_at > Instant::now();
            select! {
                () = sleep_until(self.retry_at), if waiting => {}
                result = self.dialer.dial(), if !waiting => match result {
                    Ok(link) => return Some(link),
                    Err(trouble) => {
                        *self.shared.trouble() = Some(trouble);
                        self.retry_at = Instant::now() + self.backoff.delay();
                    }
                },
                () = self.shared.wake.notified() => {}
            }
        }
    }

    /// Uses a connection until it fails (`false`), or all is written and the end was asked for (`true`).
    async fn serve(&mut self, link: Link<DealerSocket>) -> bool {
        let Link { mut socket, mut monitor } = link;
        let window: Arc<Window> = Arc::default();
        let mut unanswered: Option<Instant> = None;
        loop {
            while window.has_room() {
                let Some(next) = self.shared.next() else { break };
                let Some(message) = window.track(next.parts) else { continue };
                unanswered.get_or_insert_with(Instant::now);
                // The window keeps the socket's queue so short that this does not wait.
                if socket.send(message).await.is_err() {
                    return false;
                }
            }
            if self.shared.finished() && window.messages() == 0 {
                drop(socket);
                while let Some(event) = monitor.next().await {
                    if matches!(event, SocketEvent::Disconnected(_)) {
                        return false;
                    }
                }
                return true;
            }
            let gives_up_at = unanswered.map(|since| since + UNANSWERED);
            select! {
                biased;
                event = monitor.next() => match event {
                    Some(SocketEvent::Disconnected(_)) | None => return false,
                    Some(_) => {}
                },
                result = socket.recv() => match result {
                    Ok(message) => {
                        self.hear(message).await;
                        unanswered = (window.messages() > 0).then(Instant::now);
                    }
                    Err(_) => return false,
                },
                () = self.shared.wake.notified() => {}
                () = window.progress() => {}
                () = sleep_until(gives_up_at.unwrap_or_else(Instant::now)), if gives_up_at.is_some() => {
                    return false;
                }
            }
        }
    }

    async fn hear(&mut self, parts: Vec<Bytes>) {
        let size = parts.iter().map(Bytes::len).sum();
        match Message::decode(&parts) {
            Ok(message) => {
                self.answers.put(message, size).await;
            }
            Err(_) => {
                self.shared.malformed.fetch_add(1, Relaxed);
            }
        }
    }
}
