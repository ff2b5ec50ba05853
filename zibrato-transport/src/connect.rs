//! Making a socket that is connected, within bounded time.
//!
//! `connect` of `zeromq` waits 30 s where nobody is there, and resolves the name on a thread of its own
//! that goes on when the wait is over. Here an attempt takes at most [`CONNECT`], one look-up runs at a
//! time, and while names cannot be resolved the addresses last known are used.

use crate::address::Broker;
use futures::channel::mpsc;
use futures::future::select_ok;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use zeromq::{Endpoint, Socket, SocketEvent, ZmqResult};

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
    pub(crate) socket: S,
    pub(crate) monitor: mpsc::Receiver<SocketEvent>,
}

/// A socket type of the connecting side.
pub(crate) trait Connecting: Socket + 'static {
    /// What is done before it connects.
    fn prepare(&mut self, topics: &[String]) -> impl Future<Output = ZmqResult<()>> + Send {
        let _ = topics;
        async { Ok(()) }
    }
}

impl Connecting for zeromq::PushSocket {}
impl Connecting for zeromq::DealerSocket {}
impl Connecting for zeromq::SubSocket {
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
    pub(crate) fn new(broker: &Broker, offset: u16, topics: Vec<String>) -> Self {
        let (host, port) = (broker.host.clone(), broker.nth_port(offset));
        Dialer(Dialing::Idle(Connector { host, port, topics, known: Vec::new(), lookup: None }))
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
    topics: Vec<String>,
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
        let topics = &self.topics;
        let attempts = self.known.iter().zip(0..).map(|(&address, i)| {
            Box::pin(async move {
                sleep(STAGGER * i).await;
                let mut socket = S::new();
                let monitor = socket.monitor();
                socket.prepare(topics).await?;
                socket.connect(&Endpoint::from_tcp_addr(address).to_string()).await?;
                ZmqResult::Ok((address, Link { socket, monitor }))
            })
        });
        match timeout(CONNECT, select_ok(attempts)).await {
            Ok(Ok(((address, link), others))) => {
                drop(others);
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
        Broker { host: self.host.clone(), port: self.port }
    }
}
