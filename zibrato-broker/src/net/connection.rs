//! One connection: a task that reads, hands over, and writes what waits.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::{Buf, Bytes};
use omq_proto::proto::Command;
use omq_proto::proto::connection::Connection;
use omq_proto::{Message, Payload, SocketType};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;

use super::fanout::command;
use super::guard::Who;
pub(crate) use super::input::Batch;
use super::input::{Fault, Input, Read};
use super::links::{Link, Links, Told, Why};
use super::outbox::{Outbox, QueueLimits, Writing};
use super::split::{self, BadWire, Item, WireLimits};
use crate::keep::Origin;
use crate::refusals::Refusals;

/// What is written at once, in bytes and in pieces.
const WRITE: usize = 512 << 10;
const PIECES: usize = 64;
/// What may be encrypted and not written yet, in bytes and in messages.
const SEAL: usize = 64 << 10;
const SEALS: usize = 256;
/// Writes before others have their turn.
const TURNS: usize = 4;
/// How long a peer may take to read what is left when the broker stops.
const LINGER: Duration = Duration::from_secs(1);
/// Most reads of what has arrived when the broker stops.
const LEFT: usize = 4096;
/// Longest context of a PING, by RFC 37.
const CONTEXT: usize = 16;

/// The other end of a connection, once it is let in.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) link: Arc<Link>,
    pub(crate) who: Who,
    pub(crate) outbox: Outbox,
    /// The minor version of ZMTP that both speak.
    pub(crate) minor: u8,
    /// What is kept of what it sends is counted for this.
    pub(crate) origin: Origin,
}

impl Peer {
    pub(crate) fn who(&self) -> &str {
        &self.who.name
    }

    /// Whether messages of a topic may go to this peer.
    pub(crate) fn may_see(&self, topic: &[u8]) -> bool {
        self.who.may_see(topic)
    }
}

/// What a port is for.
pub(crate) trait Service: Send + Sync + 'static {
    /// Its name in counters and log lines.
    fn place(&self) -> &'static str;

    /// What ZeroMQ calls this end.
    fn kind(&self) -> SocketType;

    /// How large what peers send may be.
    fn wire(&self) -> WireLimits;

    /// How much may wait for one of them.
    fn queue(&self) -> QueueLimits;

    /// Why a peer may not be here, if it may not.
    fn refuses(&self, who: &Who) -> Option<Why>;

    /// A peer is there.
    fn hello(&self, peer: &Arc<Peer>);

    /// A peer sent something. An error ends the connection.
    fn take(&self, peer: &Arc<Peer>, batch: &Batch<'_>) -> Result<(), Why>;

    /// A peer is gone.
    fn bye(&self, peer: &Arc<Peer>);
}

/// Serves a peer until one of both ends it.
pub(super) async fn serve(
    mut stream: TcpStream,
    peer: &Arc<Peer>,
    mut secure: Option<Box<Connection>>,
    service: &dyn Service,
    links: &Links,
    refusals: &Refusals,
) {
    service.hello(peer);
    let ended = run(&stream, peer, secure.as_deref_mut(), service, links).await;
    service.bye(peer);
    peer.outbox.close();
    if let Err(fault) = &ended
        && let Some((why, detail)) = fault.reason()
    {
        refusals.count_of(service.place(), why, peer.who(), detail);
    }
    // Says FIN rather than RST where nothing is unread; whoever does not listen is not waited for.
    let _ = tokio::time::timeout(LINGER, stream.shutdown()).await;
}

async fn run(
    stream: &TcpStream,
    peer: &Arc<Peer>,
    mut secure: Option<&mut Connection>,
    service: &dyn Service,
    links: &Links,
) -> Result<(), Fault> {
    let mut input = Input::new(service.wire());
    let mut output = Output::default();
    let mut take = |batch: &Batch<'_>| {
        answer_pings(peer, links, batch)?;
        service.take(peer, batch)
    };
    let mut told = Told::Run;
    loop {
        let is_blocked = !output.write(stream, &peer.outbox, secure.as_deref_mut())?;
        let interest = if is_blocked { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        let ready = tokio::select! {
            biased;
            now = peer.link.changed(told) => {
                told = now;
                if told == Told::Finish {
                    break;
                }
                return Ok(());
            }
            () = peer.outbox.filled(), if !is_blocked => continue,
            ready = stream.ready(interest) => ready?,
        };
        if !ready.is_readable() {
            continue;
        }
        let read = match secure.as_deref_mut() {
            None => input.read(stream, links, &peer.link, &mut take)?,
            Some(connection) => input.read_secure(stream, connection, links, &peer.link, &mut take)?,
        };
        if read == Read::End {
            return Ok(());
        }
        // Others have their turn, or whoever sends without a pause would have all of them.
        tokio::task::yield_now().await;
    }
    // What has arrived is still taken, but not what keeps coming; and what waits is still sent.
    for _ in 0..LEFT {
        let read = match secure.as_deref_mut() {
            None => input.read(stream, links, &peer.link, &mut take)?,
            Some(connection) => input.read_secure(stream, connection, links, &peer.link, &mut take)?,
        };
        if read != Read::More {
            break;
        }
    }
    let flush = async {
        while !output.write(stream, &peer.outbox, secure.as_deref_mut())? {
            stream.writable().await?;
        }
        Ok::<(), io::Error>(())
    };
    match tokio::time::timeout(LINGER, flush).await {
        Ok(result) => Ok(result?),
        Err(_) => Ok(()),
    }
}

/// Asks the other end for everything that it publishes.
pub(crate) fn subscribe_all(peer: &Peer) {
    let mut bytes = Vec::with_capacity(16);
    if peer.minor == 0 {
        split::join(&mut bytes, std::iter::once(&[1][..]));
    } else {
        split::command(&mut bytes, b"SUBSCRIBE", b"");
    }
    peer.outbox.push_control(bytes.into());
}

/// Answers heartbeats; refuses commands that are none.
fn answer_pings(peer: &Peer, links: &Links, batch: &Batch<'_>) -> Result<(), Why> {
    for item in batch.items {
        let Item::Command(body) = item else { continue };
        links.counts.commands.fetch_add(1, Relaxed);
        match command(&batch.bytes[body.clone()]) {
            Some((b"PING", [_, _, context @ ..])) if context.len() <= CONTEXT => {
                let mut pong = Vec::with_capacity(24);
                split::command(&mut pong, b"PONG", context);
                peer.outbox.push_control(pong.into());
            }
            Some((b"PING" | b"", _)) | None => return Err(BadWire::Command.reason()),
            _ => {}
        }
    }
    Ok(())
}

/// The writing side of a connection.
#[derive(Default)]
struct Output {
    writing: Writing,
    /// How much of the first piece is written already.
    written: usize,
    /// Whether the first of `runs` is partly written, so that nothing may come before the rest of it.
    is_within: bool,
    /// Under encryption: how much of the first of `runs` is encrypted.
    sealed: usize,
    /// What is encrypted and not written: up to which byte of all that was ever encrypted, and what it counts for in the
    /// queue until then. And how many bytes were written.
    sealing: VecDeque<(u64, usize)>,
    passed: u64,
}

impl Output {
    /// Writes what waits; false if the peer has to read first.
    fn write(
        &mut self,
        stream: &TcpStream,
        outbox: &Outbox,
        mut secure: Option<&mut Connection>,
    ) -> io::Result<bool> {
        for _ in 0..TURNS {
            if self.writing.runs.is_empty() {
                outbox.take(WRITE, &mut self.writing);
            }
            let result = match secure.as_deref_mut() {
                None => self.write_plain(stream, outbox),
                Some(connection) => self.write_secure(stream, outbox, connection),
            };
            match result {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        // There may be more; asking whether the socket is writable gives others their turn.
        Ok(false)
    }

    /// Writes once; true if nothing is left.
    fn write_plain(&mut self, stream: &TcpStream, outbox: &Outbox) -> io::Result<bool> {
        let Writing { control, runs } = &mut self.writing;
        let first = usize::from(self.is_within);
        let pieces = runs.iter().take(first).map(|r| &r.bytes);
        let pieces = pieces.chain(control.iter()).chain(runs.iter().skip(first).map(|r| &r.bytes));
        let mut slices = [IoSlice::new(&[]); PIECES];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            *slice = IoSlice::new(if count == 0 { &piece[self.written..] } else { piece });
            count += 1;
        }
        if count == 0 {
            return Ok(true);
        }
        let mut written = self.written + stream.try_write_vectored(&slices[..count])?;
        // In the order in which they were written.
        let mut done = 0;
        if self.is_within
            && let Some(run) = runs.front()
        {
            if written < run.bytes.len() {
                self.written = written;
                return Ok(false);
            }
            written -= run.bytes.len();
            (self.is_within, done) = (false, 1);
        }
        while let Some(piece) = control.front_mut() {
            if written < piece.len() {
                piece.advance(written);
                outbox.sent(runs.drain(..done));
                self.written = 0;
                return Ok(false);
            }
            written -= piece.len();
            control.pop_front();
        }
        while let Some(run) = runs.get(done) {
            if written < run.bytes.len() {
                break;
            }
            written -= run.bytes.len();
            done += 1;
        }
        outbox.sent(runs.drain(..done));
        (self.written, self.is_within) = (written, written > 0);
        Ok(runs.is_empty() && outbox.is_empty())
    }

    /// The same under encryption, which is done here, in the task of the peer whom it is for.
    fn write_secure(
        &mut self,
        stream: &TcpStream,
        outbox: &Outbox,
        connection: &mut Connection,
    ) -> io::Result<bool> {
        // `omq-proto` answers heartbeats by itself, so all that can be here is a subscription.
        for _ in self.writing.control.drain(..) {
            let subscription = Command::Subscribe(Bytes::new());
            connection.send_command(&subscription).map_err(io::Error::other)?;
        }
        // Little at once: whoever does not read makes this program hold it twice.
        while connection.pending_transmit_size() < SEAL
            && self.sealing.len() < SEALS
            && let Some(run) = self.writing.runs.front()
        {
            self.sealed += seal(connection, &run.bytes.slice(self.sealed..))?;
            let mut cost = 0;
            if self.sealed >= run.bytes.len() {
                cost = run.cost();
                self.writing.runs.pop_front();
                self.sealed = 0;
            }
            self.sealing.push_back((self.passed + connection.pending_transmit_size() as u64, cost));
        }
        if connection.has_pending_transmit() {
            let written = stream.try_write_vectored(&connection.transmit_chunks_capped(PIECES))?;
            connection.advance_transmit(written);
            self.passed += written as u64;
        }
        let mut cost = 0;
        while let Some((end, own)) = self.sealing.front()
            && *end <= self.passed
        {
            cost += own;
            self.sealing.pop_front();
        }
        outbox.sent_bytes(cost);
        Ok(!connection.has_pending_transmit() && self.writing.runs.is_empty() && outbox.is_empty())
    }
}

/// Gives the first message of a run to `omq-proto`, which encrypts it; says how many bytes of the run that were.
fn seal(connection: &mut Connection, bytes: &Bytes) -> io::Result<usize> {
    let mut parts = Vec::with_capacity(4);
    let mut at = 0;
    while let Some((body, is_last)) = split::part(bytes, at) {
        at = body.end;
        parts.push(Payload::from_bytes(bytes.slice(body)));
        if is_last {
            connection.send_message(&Message::multipart_payloads(parts)).map_err(io::Error::other)?;
            return Ok(at);
        }
    }
    // The bytes are this program's own, so they end with a message.
    Ok(bytes.len())
}
