//! Connections that CURVE protects: the codec of `omq-proto` over a stream of tokio.
//!
//! To the ends it looks as a socket of `zeromq` does, which knows no CURVE: one task per connection owns the stream, a
//! monitor tells when it fails, and its end that everything is written. Unlike there, the task reads for PUSH, too, so
//! that a broker that has gone is noticed at once, and what waits is bounded in both directions.
//!
//! Nothing that a peer says makes it grow: before the handshake the codec takes commands of at most 256 KiB, after it
//! messages of at most [`MOST`]; a batch of messages is handed on before more is read, and answers to PING that the peer
//! does not read stop the reading.

use crate::refusals::Refusals;
use bytes::{Bytes, BytesMut};
use futures::channel::mpsc as monitoring;
use omq_proto::proto::command::Command;
use omq_proto::proto::connection::{Connection, ConnectionConfig, Event, Role};
use omq_proto::{CurveKeypair, CurvePublicKey, CurveSecretKey, Error, MechanismSetup, Message, SocketType};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::select;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use zeromq::SocketEvent;
use zeromq::util::PeerIdentity;
use zibrato_keys::{KeyPair, PublicKey};

/// Largest message taken from a broker: a frame has at most 1 MiB, but what it tells of itself may be longer.
const MOST: usize = 16 << 20;
/// How much is read at once.
const READ: usize = 64 << 10;
/// No more is encrypted while so much waits to be written.
const UNWRITTEN: usize = 128 << 10;
/// Messages given to a connection that it has not taken; the window gives it no more either.
const QUEUE: usize = 128;
/// Most pieces given to the kernel at once.
const PIECES: usize = 64;
/// A connection that nobody needs any more, and that the peer takes nothing from for so long, is given up.
const LINGER: Duration = Duration::from_secs(60);
/// How long the peer's own end is waited for after ours.
const LAST: Duration = Duration::from_secs(1);

/// Who talks to whom, as what.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) kind: SocketType,
    pub(crate) own: KeyPair,
    pub(crate) broker: PublicKey,
    pub(crate) refusals: Arc<Refusals>,
}

/// A connection whose handshake is done.
#[derive(Debug)]
pub(crate) struct CurveSocket {
    outgoing: mpsc::Sender<Vec<Bytes>>,
    incoming: mpsc::Receiver<VecDeque<Vec<Bytes>>>,
    batch: VecDeque<Vec<Bytes>>,
}

/// The connection has failed.
#[derive(Debug)]
pub(crate) struct Gone;

impl CurveSocket {
    /// Connects, proves who we are and has the other end prove who it is. The error says why that failed.
    pub(crate) async fn connect(
        address: SocketAddr,
        terms: Terms,
        topics: &[String],
    ) -> Result<(CurveSocket, monitoring::Receiver<SocketEvent>), String> {
        let mut stream = TcpStream::connect(address).await.map_err(|why| why.to_string())?;
        stream.set_nodelay(true).map_err(|why| why.to_string())?;
        let mut codec = Connection::new(config(&terms));
        if let Err(failure) = shake_hands(&mut stream, &mut codec).await {
            let why = failure.within_handshake();
            terms.refusals.add(&why);
            return Err(why);
        }
        for topic in topics {
            let subscribe = Command::Subscribe(Bytes::copy_from_slice(topic.as_bytes()));
            codec.send_command(&subscribe).map_err(|why| why.to_string())?;
        }
        let (outgoing, queue) = mpsc::channel(QUEUE);
        let (batches, incoming) = mpsc::channel(1);
        let (told, monitor) = monitoring::channel(1);
        let carrier = Carrier { codec, queue, batches, terms };
        tokio::spawn(carrier.run(stream, told));
        Ok((CurveSocket { outgoing, incoming, batch: VecDeque::new() }, monitor))
    }

    /// Waits only while more wait than the window allows.
    pub(crate) async fn send(&mut self, parts: Vec<Bytes>) -> Result<(), Gone> {
        self.outgoing.send(parts).await.map_err(|_| Gone)
    }

    /// The next message. May be dropped without losing one.
    pub(crate) async fn recv(&mut self) -> Result<Vec<Bytes>, Gone> {
        loop {
            if let Some(message) = self.batch.pop_front() {
                return Ok(message);
            }
            self.batch = self.incoming.recv().await.ok_or(Gone)?;
        }
    }
}

fn config(terms: &Terms) -> ConnectionConfig {
    let own = CurveKeypair {
        public: CurvePublicKey::from_bytes(*terms.own.public().as_bytes()),
        secret: CurveSecretKey::from_bytes(*terms.own.secret().reveal()),
    };
    let server = CurvePublicKey::from_bytes(*terms.broker.as_bytes());
    ConnectionConfig::new(Role::Client, terms.kind)
        .mechanism(MechanismSetup::CurveClient { our_keypair: own, server_public: server })
        .max_message_size(MOST)
}

/// Why a connection ends that was needed.
#[derive(Debug)]
enum Failure {
    /// The stream fails, or the peer has closed it.
    Stream(io::Error),
    /// What came is not what it should be.
    Codec(Error),
}

impl From<io::Error> for Failure {
    fn from(why: io::Error) -> Self {
        Failure::Stream(why)
    }
}

impl From<Error> for Failure {
    fn from(why: Error) -> Self {
        Failure::Codec(why)
    }
}

impl Failure {
    /// What it means before anybody has proved anything.
    fn within_handshake(&self) -> String {
        match self {
            // libzmq says nothing to whom it cannot understand.
            Failure::Stream(why) => format!(
                "the handshake was broken off ({why}): is it the owner of the broker key, and is our key allowed there?"
            ),
            Failure::Codec(Error::HandshakeRefused(refusal)) => {
                format!("our key was refused ({:.100}): is it allowed there?", refusal.reason)
            }
            Failure::Codec(Error::HandshakeFailed(why)) if why.contains("mechanism mismatch") => {
                "it does not use CURVE: start the broker with keys, or leave keys away here".into()
            }
            Failure::Codec(Error::HandshakeFailed(why)) if why.contains("decrypt failed") => {
                "it is not the owner of the broker key, or somebody is in between".into()
            }
            Failure::Codec(why) => format!("the handshake failed: {why:.200}"),
        }
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed")
}

async fn shake_hands(stream: &mut TcpStream, codec: &mut Connection) -> Result<(), Failure> {
    let mut input = BytesMut::new();
    loop {
        while codec.has_pending_transmit() {
            let written = stream.write(&codec.poll_transmit()).await?;
            codec.advance_transmit(written);
        }
        while let Some(event) = codec.poll_event() {
            if matches!(event, Event::HandshakeSucceeded { .. }) {
                return Ok(());
            }
        }
        input.reserve(4096);
        if stream.read_buf(&mut input).await? == 0 {
            return Err(closed().into());
        }
        codec.handle_input(input.split().freeze())?;
    }
}

/// The task that owns the stream.
struct Carrier {
    codec: Connection,
    queue: mpsc::Receiver<Vec<Bytes>>,
    batches: mpsc::Sender<VecDeque<Vec<Bytes>>>,
    terms: Terms,
}

impl Carrier {
    /// Ends when the socket is dropped and everything is written, or the connection fails, which the monitor is told.
    async fn run(mut self, mut stream: TcpStream, mut told: monitoring::Sender<SocketEvent>) {
        let (mut reader, mut writer) = stream.split();
        if let Err(failure) = self.carry(&mut reader, &mut writer).await {
            if let Failure::Codec(why) = failure {
                self.terms
                    .refusals
                    .add(&format!("what came was altered on the way, or is nonsense: {why:.200}"));
            }
            let _ = told.try_send(SocketEvent::Disconnected(PeerIdentity::new()));
            return;
        }
        // With unread bytes the kernel would reset the connection, and the peer lose what it has not read.
        if writer.shutdown().await.is_ok() {
            drop(told);
            let mut rest = [0; 4096];
            let read_all = async { while reader.read(&mut rest).await.is_ok_and(|length| length > 0) {} };
            let _ = timeout(LAST, read_all).await;
        }
    }

    async fn carry(&mut self, reader: &mut ReadHalf<'_>, writer: &mut WriteHalf<'_>) -> Result<(), Failure> {
        let mut input = BytesMut::new();
        let mut batch = VecDeque::new();
        let mut needed = true;
        let mut moved = Instant::now();
        loop {
            self.sort(&mut batch);
            while needed && self.has_room() {
                match self.queue.try_recv() {
                    Ok(parts) => self.codec.send_message(&Message::multipart(parts))?,
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    Err(mpsc::error::TryRecvError::Disconnected) => needed = false,
                }
            }
            let writes = self.codec.has_pending_transmit();
            // A subscriber has nothing to say that anybody waits for.
            if !needed && (!writes || self.terms.kind == SocketType::Sub) {
                return Ok(());
            }
            let reads = needed && batch.is_empty() && self.codec.accepts_input();
            let (room, codec) = (needed && self.has_room(), &self.codec);
            if reads {
                input.reserve(READ);
            }
            let write = async {
                let pieces = codec.transmit_chunks_capped(PIECES);
                writer.write_vectored(&pieces).await
            };
            select! {
                written = write, if writes => match written? {
                    0 => return Err(closed().into()),
                    written => {
                        self.codec.advance_transmit(written);
                        moved = Instant::now();
                        if !self.codec.accepts_input() {
                            self.codec.resume_input()?;
                        }
                    }
                },
                read = reader.read_buf(&mut input), if reads => match read? {
                    0 => return Err(closed().into()),
                    _ => self.codec.handle_input(input.split().freeze())?,
                },
                permit = self.batches.reserve(), if needed && !batch.is_empty() => match permit {
                    Ok(permit) => permit.send(std::mem::take(&mut batch)),
                    // The socket is gone, and with it the queue, which says so.
                    Err(_) => batch.clear(),
                },
                parts = self.queue.recv(), if room => match parts {
                    Some(parts) => self.codec.send_message(&Message::multipart(parts))?,
                    None => needed = false,
                },
                () = sleep_until(moved + LINGER), if !needed => return Err(closed().into()),
            }
        }
    }

    fn has_room(&self) -> bool {
        self.codec.pending_transmit_size() < UNWRITTEN
    }

    /// Takes what was decoded out of the codec.
    fn sort(&mut self, batch: &mut VecDeque<Vec<Bytes>>) {
        while self.codec.poll_event().is_some() {}
        while let Some(message) = self.codec.poll_message() {
            // Nobody has anything to say to a PUSH.
            if self.terms.kind != SocketType::Push {
                batch.push_back((0..message.len()).filter_map(|i| message.part_bytes(i)).collect());
            }
        }
    }
}
