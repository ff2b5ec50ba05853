//! Frames on their way from the brokers.
//!
//! SUB of `zeromq` 0.7 reconnects by itself, after up to twice the outage, and never where something accepts
//! and does not greet. Here every broker has a task that drops its socket at the first sign of trouble,
//! before the socket tries by itself, and makes a new one; and the broker's own beat tells a broker that
//! has nothing to say from one that is gone.

use crate::Broker;
use crate::backoff::Backoff;
use crate::beat;
use crate::connect::{Dialer, Link};
use crate::inbox::{Inbox, Letterbox, inbox};
use crate::refusals::Refusals;
use bytes::Bytes;
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::select;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use zeromq::{SocketEvent, SubSocket};

/// A broker of which nothing was heard for so long is silent; it beats four times as often.
pub const SILENCE: Duration = Duration::from_secs(2);
/// A connection that lived for so long makes the next attempts start quickly again.
const LIVED: Duration = Duration::from_secs(1);

/// What a [`Subscriber`] hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message of two parts.
    Message {
        /// Which broker, an index into the list given to [`Subscriber::start`].
        broker: usize,
        /// Its first part.
        topic: Bytes,
        /// Its second part.
        frame: Bytes,
    },
    /// A message of another number of parts, or a beat that cannot be read.
    Malformed {
        /// Which broker.
        broker: usize,
        /// How many parts it had.
        parts: usize,
    },
    /// Nothing was heard for [`SILENCE`], also where nothing ever was. Told once per silence.
    Silent {
        /// Which broker.
        broker: usize,
    },
    /// A protected connection was refused by either side, or ended because what came was altered on the way. Told
    /// once until the broker is [`Back`](Event::Back).
    Refused {
        /// Which broker.
        broker: usize,
        /// Why, in words that fit after "failed to".
        why: String,
    },
    /// The first beat of a connection: frames may have been missed before it, so ask for them.
    ///
    /// Told for the first connection, after every silence, and after every reconnection, however short, as
    /// the broker may have been restarted.
    Back {
        /// Which broker.
        broker: usize,
        /// Random with every start of the broker.
        boot: [u8; 16],
    },
}

/// The end that receives frames from one or several brokers.
///
/// While nobody calls [`recv`](Self::recv), at most 8 MiB wait, and the brokers drop what is more.
/// The size of one message is not limited: `zeromq` has no such limit, so brokers are trusted.
#[derive(Debug)]
pub struct Subscriber {
    events: Inbox<Event>,
    refusals: Vec<Arc<Refusals>>,
    // Dropped with it, and its tasks with that.
    _tasks: JoinSet<()>,
}

impl Subscriber {
    /// Starts receiving what the brokers publish under topics that begin with one of `topics`; the empty
    /// topic stands for all of them. It subscribes to the brokers' beats in any case and consumes them.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(brokers: &[Broker], topics: &[String]) -> Subscriber {
        let (letterbox, events) = inbox();
        let mut topics = topics.to_vec();
        topics.push(beat::topic());
        let mut tasks = JoinSet::new();
        let refusals: Vec<Arc<Refusals>> = brokers.iter().map(|_| Arc::default()).collect();
        for ((index, broker), refusals) in brokers.iter().enumerate().zip(&refusals) {
            let now = Instant::now();
            let listener = Listener {
                broker: index,
                dialer: Dialer::new(broker, 1, topics.clone(), refusals.clone()),
                backoff: Backoff::new(),
                events: letterbox.clone(),
                heard: now,
                silent: false,
                boot: None,
                refusals: refusals.clone(),
                refused: false,
            };
            tasks.spawn(listener.run());
        }
        Subscriber { events, refusals, _tasks: tasks }
    }

    /// How many protected connections either side has refused, or ended because what came was altered on the way.
    pub fn refused(&self) -> u64 {
        self.refusals.iter().map(|refusals| refusals.count()).sum()
    }

    /// The next event; waits for ever where there are no brokers. May be dropped without losing an event.
    pub async fn recv(&mut self) -> Event {
        match self.events.take().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }
}

/// The task that owns the socket of one broker.
struct Listener {
    broker: usize,
    dialer: Dialer<SubSocket>,
    backoff: Backoff,
    events: Letterbox<Event>,
    /// When the broker was heard last, or the task was ready to hear.
    heard: Instant,
    silent: bool,
    /// Of the beat heard on the present connection.
    boot: Option<[u8; 16]>,
    refusals: Arc<Refusals>,
    /// A refusal was told, and the broker was not heard since.
    refused: bool,
}

impl Listener {
    /// Ends when nobody receives any more.
    async fn run(mut self) {
        loop {
            let Some(link) = self.connection().await else { return };
            let since = Instant::now();
            if !self.listen(link).await {
                return;
            }
            if !self.tells_refusal("keep the connection").await {
                return;
            }
            if since.elapsed() > LIVED {
                self.backoff.reset();
            }
            let delay = self.backoff.delay();
            if !self.tells_silence(sleep(delay)).await {
                return;
            }
        }
    }

    async fn connection(&mut self) -> Option<Link<SubSocket>> {
        loop {
            let silent_at = self.heard + SILENCE;
            let result = select! {
                result = self.dialer.dial() => result,
                () = sleep_until(silent_at), if !self.silent => {
                    if !self.is_silent().await {
                        return None;
                    }
                    continue;
                }
            };
            match result {
                Ok(link) => return Some(link),
                Err(_) => {
                    if !self.tells_refusal("connect").await {
                        return None;
                    }
                    let delay = self.backoff.delay();
                    if !self.tells_silence(sleep(delay)).await {
                        return None;
                    }
                }
            }
        }
    }

    /// Waits, and tells of a silence that begins meanwhile; `false` where nobody receives any more.
    async fn tells_silence(&mut self, wait: impl Future<Output = ()>) -> bool {
        tokio::pin!(wait);
        loop {
            select! {
                () = &mut wait => return true,
                () = sleep_until(self.heard + SILENCE), if !self.silent => {
                    if !self.is_silent().await {
                        return false;
                    }
                }
            }
        }
    }

    /// Tells why a connection was refused, if one was, and that was not told before; `false` where nobody receives any
    /// more.
    async fn tells_refusal(&mut self, what: &str) -> bool {
        let Some(why) = self.refusals.take().filter(|_| !self.refused) else { return true };
        self.refused = true;
        let why = format!("{what}: {why}");
        self.events.put(Event::Refused { broker: self.broker, why }, 0).await
    }

    async fn is_silent(&mut self) -> bool {
        self.silent = true;
        self.events.put(Event::Silent { broker: self.broker }, 0).await
    }

    /// Receives until the connection fails or says nothing; `false` where nobody receives any more.
    async fn listen(&mut self, link: Link<SubSocket>) -> bool {
        let Link { mut socket, mut monitor } = link;
        let mut heard = Instant::now();
        self.boot = None;
        loop {
            select! {
                biased;
                // A failed connection is told here, and only while something is being received: the socket
                // is dropped before its own reconnection begins, which could get stuck for ever.
                event = monitor.next() => match event {
                    Some(SocketEvent::Disconnected(_)) | None => return true,
                    Some(_) => continue,
                },
                result = socket.recv() => match result {
                    Ok(message) => {
                        if !self.hear(message).await {
                            return false;
                        }
                        // Taken after the message was handed on: while the receiver is slow nothing is read.
                        heard = Instant::now();
                        self.heard = heard;
                    }
                    Err(_) => return true,
                },
                () = sleep_until(heard + SILENCE) => {
                    return self.silent || self.is_silent().await;
                }
            }
        }
    }

    async fn hear(&mut self, parts: Vec<Bytes>) -> bool {
        let broker = self.broker;
        let size = parts.iter().map(Bytes::len).sum();
        let event = match <[Bytes; 2]>::try_from(parts) {
            Ok([topic, frame]) if topic == beat::topic() => match beat::boot(&frame) {
                Some(boot) if self.boot == Some(boot) => return true,
                Some(boot) => {
                    self.boot = Some(boot);
                    (self.silent, self.refused) = (false, false);
                    Event::Back { broker, boot }
                }
                None => Event::Malformed { broker, parts: 2 },
            },
            Ok([topic, frame]) => Event::Message { broker, topic, frame },
            Err(parts) => Event::Malformed { broker, parts: parts.len() },
        };
        self.events.put(event, size).await
    }
}
