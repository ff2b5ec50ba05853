//! Making a socket that is connected, within bounded time.
//!
//! `connect` of `zeromq` waits 30 s where nobody is there, and resolves the name on a thread of its own
//! that goes on when the wait is over. Here an attempt takes at most [`CONNECT`], one look-up runs at a
//! time, and while names cannot be resolved the addresses last known are used.

use crate::Security;
use crate::address::Broker;
#[cfg(feature = "curve")]
use crate::curve::{CurveSocket, Terms};
use crate::refusals::Refusals;
use bytes::Bytes;
use futures::channel::mpsc;
use futures::future::select_ok;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use zeromq::{Endpoint, Socket, SocketEvent, SocketRecv, SocketSend, ZmqError, ZmqMessage, ZmqResult};

/// Most time that one attempt takes, look-up and handshake each.
const CONNECT: Duration = Duration::from_secs(1);
/// How long the next address of a host waits for the one before.
const STAGGER: Duration = Duration::from_millis(100);
/// Most addresses of a host that are tried.
const ADDRESSES: usize = 4;

/// Has `zeromq` prepare what it prepares when the first address is read.
///
/// A process that may fork calls this before it starts the thread that connects: a child that is made while another
/// thread is preparing it finds it half done, and waits for ever.
pub fn prepare() {
    // Whether it is an address does not matter, only that it was looked at.
    let _ = "tcp://127.0.0.1:1".parse::<Endpoint>();
}

/// A connected socket and the channel on which it tells that its peer has gone. That channel ends when the
/// socket is dropped and its writer has ended, which it does when all is written or its connection fails.
#[derive(Debug)]
pub(crate) struct Link<S> {
    pub(crate) socket: Wire<S>,
    pub(crate) monitor: mpsc::Receiver<SocketEvent>,
}

/// A socket, protected or not.
#[derive(Debug)]
pub(crate) enum Wire<S> {
    Plain(S),
    #[cfg(feature = "curve")]
    Curve(CurveSocket),
}

/// The socket's connection has failed.
#[derive(Debug)]
pub(crate) struct Failed;

impl<S: SocketSend> Wire<S> {
    pub(crate) async fn send(&mut self, parts: Vec<Bytes>) -> Result<(), Failed> {
        match self {
            Wire::Plain(socket) => {
                // A message without parts is none.
                let Ok(message) = ZmqMessage::try_from(parts) else { return Ok(()) };
                socket.send(message).await.map_err(|_| Failed)
            }
            #[cfg(feature = "curve")]
            Wire::Curve(socket) => socket.send(parts).await.map_err(|_| Failed),
        }
    }
}

impl<S: SocketRecv> Wire<S> {
    /// May be dropped without losing a message.
    pub(crate) async fn recv(&mut self) -> Result<Vec<Bytes>, Failed> {
        match self {
            Wire::Plain(socket) => socket.recv().await.map(ZmqMessage::into_vec).map_err(|_| Failed),
            #[cfg(feature = "curve")]
            Wire::Curve(socket) => socket.recv().await.map_err(|_| Failed),
        }
    }
}

/// A socket type of the connecting side.
pub(crate) trait Connecting: Socket + 'static {
    /// The same in the codec of protected connections.
    #[cfg(feature = "curve")]
    const KIND: omq_proto::SocketType;

    /// What is done before it connects.
    fn prepare(&mut self, topics: &[String]) -> impl Future<Output = ZmqResult<()>> + Send {
        let _ = topics;
        async { Ok(()) }
    }
}

impl Connecting for zeromq::PushSocket {
    #[cfg(feature = "curve")]
    const KIND: omq_proto::SocketType = omq_proto::SocketType::Push;
}
impl Connecting for zeromq::DealerSocket {
    #[cfg(feature = "curve")]
    const KIND: omq_proto::SocketType = omq_proto::SocketType::Dealer;
}
impl Connecting for zeromq::SubSocket {
    #[cfg(feature = "curve")]
    const KIND: omq_proto::SocketType = omq_proto::SocketType::Sub;

    async fn prepare(&mut self, topics: &[String]) -> ZmqResult<()> {
        for topic in topics {
            self.subscribe(topic).await?;
        }
        Ok(())
    }
}

type Attempt<S> = Pin<Box<dyn Future<Output = (Connector, Result<Link<S>, String>)> + Send>>;

/// Makes connected sockets, one attempt at a time.
pub(crate) struct Dialer<S>(Dialing<S>);

enum Dialing<S> {
    Idle(Connector),
    Busy(Attempt<S>),
    /// Only while an attempt is being polled for the last time.
    Gone,
}

impl<S: Connecting> Dialer<S> {
    /// For the broker's port that is `offset` after its first.
    pub(crate) fn new(broker: &Broker, offset: u16, topics: Vec<String>, refusals: Arc<Refusals>) -> Self {
        Dialer(Dialing::Idle(Connector {
            host: broker.host.clone(),
            port: broker.nth_port(offset),
            security: broker.security().clone(),
            topics,
            refusals,
            known: Vec::new(),
            lookup: None,
        }))
    }

    /// Makes an attempt, or goes on with the one that a dropped call has begun. The error says why it failed.
    pub(crate) async fn dial(&mut self) -> Result<Link<S>, String> {
        poll_fn(|cx| {
            loop {
                match std::mem::replace(&mut self.0, Dialing::Gone) {
                    Dialing::Idle(connector) => self.0 = Dialing::Busy(Box::pin(connector.connect())),
                    Dialing::Busy(mut attempt) => {
                        let Poll::Ready((connector, result)) = attempt.as_mut().poll(cx) else {
                            self.0 = Dialing::Busy(attempt);
                            return Poll::Pending;
                        };
                        self.0 = Dialing::Idle(connector);
                        return Poll::Ready(result);
                    }
                    // Left behind only by a panic within an attempt, which the task does not survive.
                    Dialing::Gone => return Poll::Pending,
                }
            }
        })
        .await
    }
}

#[derive(Debug)]
struct Connector {
    host: String,
    port: u16,
    security: Security,
    topics: Vec<String>,
    #[cfg_attr(not(feature = "curve"), allow(dead_code, reason = "nothing else refuses"))]
    refusals: Arc<Refusals>,
    known: Vec<SocketAddr>,
    lookup: Option<JoinHandle<io::Result<Vec<SocketAddr>>>>,
}

impl Connector {
    async fn connect<S: Connecting>(mut self) -> (Self, Result<Link<S>, String>) {
        let result = self.attempt().await;
        (self, result)
    }

    async fn attempt<S: Connecting>(&mut self) -> Result<Link<S>, String> {
        self.resolve().await?;
        let this = &*self;
        let attempts = this.known.iter().zip(0..).map(|(&address, i)| {
            Box::pin(async move {
                sleep(STAGGER * i).await;
                this.link::<S>(address).await.map(|link| (address, link))
            })
        });
        // The attempts that were still under way end here.
        let first = timeout(CONNECT, select_ok(attempts)).await.map(|found| found.map(|(first, _)| first));
        match first {
            Ok(Ok((address, link))) => {
                // The address that answered goes first the next time.
                if let Some(i) = self.known.iter().position(|&a| a == address) {
                    self.known.swap(0, i);
                }
                Ok(link)
            }
            Ok(Err(error)) => Err(format!("connect to {}: {error}", self.at())),
            Err(_) => Err(format!("connect to {}: nobody answers", self.at())),
        }
    }

    async fn link<S: Connecting>(&self, address: SocketAddr) -> Result<Link<S>, String> {
        match &self.security {
            Security::Plain => {
                let mut socket = S::new();
                let monitor = socket.monitor();
                socket.prepare(&self.topics).await.map_err(explain)?;
                socket.connect(&Endpoint::from_tcp_addr(address).to_string()).await.map_err(explain)?;
                Ok(Link { socket: Wire::Plain(socket), monitor })
            }
            #[cfg(feature = "curve")]
            Security::Curve { own, broker } => {
                let terms = Terms {
                    kind: S::KIND,
                    own: own.clone(),
                    broker: *broker,
                    refusals: self.refusals.clone(),
                };
                let (socket, monitor) = CurveSocket::connect(address, terms, &self.topics).await?;
                Ok(Link { socket: Wire::Curve(socket), monitor })
            }
        }
    }

    async fn resolve(&mut self) -> Result<(), String> {
        if let Ok(ip) = self.host.parse::<IpAddr>() {
            self.known = vec![SocketAddr::new(ip, self.port)];
            return Ok(());
        }
        let (host, port) = (self.host.clone(), self.port);
        let lookup = self.lookup.get_or_insert_with(|| {
            tokio::spawn(async move { Ok(lookup_host((host, port)).await?.take(ADDRESSES).collect()) })
        });
        let why = match timeout(CONNECT, &mut *lookup).await {
            Err(_) => "no answer yet".into(),
            Ok(found) => {
                self.lookup = None;
                match found.map_err(io::Error::other).flatten() {
                    Err(error) => error.to_string(),
                    Ok(found) if found.is_empty() => "it has no address".into(),
                    Ok(found) => {
                        let first = self.known.first().copied();
                        self.known = found;
                        self.known.sort_by_key(|&a| Some(a) != first);
                        return Ok(());
                    }
                }
            }
        };
        if self.known.is_empty() { Err(format!("resolve host {:?}: {why}", self.host)) } else { Ok(()) }
    }

    fn at(&self) -> Broker {
        Broker::new(self.host.clone(), self.port)
    }
}

/// Why a connection without protection was not made.
fn explain(why: ZmqError) -> String {
    match why {
        ZmqError::Network(why) => why.to_string(),
        // The greeting was something else, or the end of the connection.
        why => format!("{why} (is it a broker? where it uses CURVE, give --key and --broker-key)"),
    }
}
