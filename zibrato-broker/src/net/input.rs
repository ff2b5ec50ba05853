//! Reading: as much as is there at once, into a buffer of the thread's, so that a connection that says nothing holds none.

use std::cell::RefCell;
use std::io;
use std::sync::atomic::Ordering::Relaxed;

use bytes::{BufMut, Bytes, BytesMut};
use omq_proto::proto::Command;
use omq_proto::proto::connection::{Connection, Event};
use tokio::net::TcpStream;

use super::links::{Link, Links, Why};
use super::split::{BadWire, Item, Rest, Split, WireLimits, command, join};

/// What is read at once.
const READ: usize = 256 << 10;
/// A message that is larger is read into an allocation of its own, which is then passed on and kept without a copy.
const OWN: usize = 48 << 10;
/// After a message with an allocation of its own the next is likely as large: only its headers are read first.
const HEADERS: usize = 1024;
/// Reads before others have their turn.
const TURNS: usize = 2;
/// Most that a connection keeps allocated for the beginnings of small messages.
const SPARE: usize = 4096;
/// About what a part costs besides its bytes.
const PART: usize = 64;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

#[derive(Default)]
struct Scratch {
    bytes: Vec<u8>,
    split: Split,
}

/// Whole messages and commands as they stand on the wire.
pub(crate) struct Batch<'a> {
    pub(crate) bytes: &'a [u8],
    /// The same bytes, where they are one message alone in its allocation.
    pub(crate) own: Option<&'a Bytes>,
    pub(crate) items: &'a [Item],
    /// Of all messages.
    pub(crate) parts: &'a [std::ops::Range<usize>],
}

/// How reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// There may be more.
    More,
    /// There is nothing more at the moment.
    Nothing,
    /// The peer has ended.
    End,
}

/// Why reading cannot go on.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The peer went away, which is nobody's fault.
    Gone,
    Wire(BadWire),
    /// What `omq-proto` says of encrypted bytes.
    Secure(omq_proto::Error),
    /// The service does not want any more.
    Service(Why),
}

impl From<io::Error> for Fault {
    fn from(_: io::Error) -> Self {
        Fault::Gone
    }
}

impl Fault {
    /// The name of the counter, and what to say; `None` where a peer just went away.
    pub(crate) fn reason(&self) -> Option<(Why, String)> {
        match self {
            Fault::Gone => None,
            Fault::Wire(why) => Some((why.reason(), "the connection was ended".into())),
            Fault::Secure(error) => {
                let detail = error.to_string();
                let why = match error {
                    omq_proto::Error::MessageTooLarge { .. } => "too_long",
                    _ if detail.contains("nonce") => "replayed",
                    _ if detail.contains("CURVE") => "tampered",
                    _ => "bad_wire",
                };
                Some((why, detail))
            }
            Fault::Service(why) => Some((why, "the connection was ended".into())),
        }
    }
}

type SplitWith = fn(&mut Split, &[u8], WireLimits) -> Result<Rest, BadWire>;
type Take<'t> = dyn FnMut(&Batch<'_>) -> Result<(), Fault> + 't;

/// The reading side of a connection.
pub(crate) struct Input {
    limits: WireLimits,
    /// The beginning of a message that is not whole yet.
    partial: BytesMut,
    /// How many bytes it has at least, as far as is known; 0 if there is none.
    known: usize,
    /// The largest message that came whole: as much is allocated at once for the next.
    proven: usize,
    is_large: bool,
    /// Whether something came whole with the last read, so that what is held now is new.
    has_passed: bool,
    /// Under encryption: bytes of the parts that have come whole of a message that has not.
    assembled: usize,
}

impl Input {
    pub(crate) fn new(limits: WireLimits) -> Input {
        Input {
            limits,
            partial: BytesMut::new(),
            known: 0,
            proven: 0,
            is_large: false,
            has_passed: false,
            assembled: 0,
        }
    }

    /// Reads some of what is there, and hands over what is whole.
    pub(crate) fn read(
        &mut self,
        stream: &TcpStream,
        links: &Links,
        link: &Link,
        take: &mut dyn FnMut(&Batch<'_>) -> Result<(), Why>,
    ) -> Result<Read, Fault> {
        self.read_with(stream, links, link, Split::split, &mut |batch| take(batch).map_err(Fault::Service))
    }

    fn read_with(
        &mut self,
        stream: &TcpStream,
        links: &Links,
        link: &Link,
        split: SplitWith,
        take: &mut Take<'_>,
    ) -> Result<Read, Fault> {
        let mut result = Ok(Read::More);
        for _ in 0..TURNS {
            self.has_passed = false;
            result = if self.known > OWN {
                self.read_own(stream, links, link, split, take)
            } else {
                SCRATCH.with_borrow_mut(|scratch| self.read_many(stream, scratch, split, take))
            };
            links.incoming(link, self.held(), self.has_passed && self.assembled == 0);
            if !matches!(result, Ok(Read::More)) {
                break;
            }
        }
        result
    }

    /// Bytes that are held of what is not whole yet.
    fn held(&self) -> usize {
        self.assembled + if self.partial.is_empty() { 0 } else { self.partial.capacity() }
    }

    fn read_many(
        &mut self,
        stream: &TcpStream,
        scratch: &mut Scratch,
        split: SplitWith,
        take: &mut Take<'_>,
    ) -> Result<Read, Fault> {
        scratch.bytes.resize(READ + OWN, 0);
        let held = self.partial.len();
        scratch.bytes[..held].copy_from_slice(&self.partial);
        let room = if self.is_large { HEADERS } else { READ };
        let read = match stream.try_read(&mut scratch.bytes[held..held + room]) {
            Ok(0) => return Ok(Read::End),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Read::Nothing),
            Err(error) => return Err(error.into()),
        };
        self.is_large = false;
        let bytes = &scratch.bytes[..held + read];
        let rest = split(&mut scratch.split, bytes, self.limits);
        let Split { items, parts } = &scratch.split;
        if !items.is_empty() {
            self.has_passed = true;
            take(&Batch { bytes, own: None, items, parts })?;
        }
        let Rest { from, known } = rest.map_err(Fault::Wire)?;
        self.known = known;
        self.hold(&bytes[from..]);
        // A short read means that there was no more.
        Ok(if read < room { Read::Nothing } else { Read::More })
    }

    /// Keeps the beginning of a message.
    fn hold(&mut self, rest: &[u8]) {
        self.partial.clear();
        if self.partial.capacity() > SPARE {
            self.partial = BytesMut::new();
        }
        if self.known > OWN {
            self.reserve(rest.len());
        }
        self.partial.extend_from_slice(rest);
    }

    /// Makes room for a large message: not on its word alone, unless it is no larger than one that came whole.
    fn reserve(&mut self, held: usize) {
        let room = self.known.min(self.proven.max(2 * OWN).max(held * 8));
        if room > self.partial.capacity() {
            self.partial.reserve(room - self.partial.len());
        }
    }

    fn read_own(
        &mut self,
        stream: &TcpStream,
        links: &Links,
        link: &Link,
        split: SplitWith,
        take: &mut Take<'_>,
    ) -> Result<Read, Fault> {
        self.reserve(self.partial.len());
        links.incoming(link, self.assembled + self.partial.capacity(), false);
        let room = self.partial.capacity().min(self.known) - self.partial.len();
        let read = match stream.try_read_buf(&mut (&mut self.partial).limit(room)) {
            Ok(0) => return Ok(Read::End),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Read::Nothing),
            Err(error) => return Err(error.into()),
        };
        if self.partial.len() == self.known {
            let mut whole = Split::default();
            let rest = split(&mut whole, &self.partial, self.limits);
            match rest {
                Ok(Rest { known: 0, .. }) => {
                    self.proven = self.known;
                    (self.known, self.is_large) = (0, true);
                    let bytes = std::mem::take(&mut self.partial).freeze();
                    let Split { items, parts } = &whole;
                    self.has_passed = true;
                    take(&Batch { bytes: &bytes, own: Some(&bytes), items, parts })?;
                }
                // Another part is to come.
                Ok(rest) => self.known = rest.known,
                Err(why) => return Err(Fault::Wire(why)),
            }
        }
        Ok(if read < room { Read::Nothing } else { Read::More })
    }

    /// The same under encryption: `omq-proto` gets nothing but whole frames, so that what is not whole is held here.
    pub(crate) fn read_secure(
        &mut self,
        stream: &TcpStream,
        connection: &mut Connection,
        links: &Links,
        link: &Link,
        take: &mut dyn FnMut(&Batch<'_>) -> Result<(), Why>,
    ) -> Result<Read, Fault> {
        let (mut opener, limits) =
            (Opener { connection, links, assembled: self.assembled, has_passed: false }, self.limits);
        // The scratch of the thread is in use meanwhile.
        let mut plain = Scratch::default();
        let mut open = |batch: &Batch<'_>| {
            plain.bytes.clear();
            let opened = opener.open(batch, &mut plain.bytes);
            if !plain.bytes.is_empty() {
                plain.split.split(&plain.bytes, limits).map_err(Fault::Wire)?;
                let Split { items, parts } = &plain.split;
                take(&Batch { bytes: &plain.bytes, own: None, items, parts }).map_err(Fault::Service)?;
            }
            opened
        };
        let read = self.read_with(stream, links, link, Split::split_sealed, &mut open);
        let Opener { assembled, has_passed, .. } = opener;
        if assembled != std::mem::replace(&mut self.assembled, assembled) || has_passed {
            links.incoming(link, self.held(), has_passed);
        }
        read
    }
}

/// Decrypts frames.
struct Opener<'a> {
    connection: &'a mut Connection,
    links: &'a Links,
    assembled: usize,
    has_passed: bool,
}

impl Opener<'_> {
    /// Appends what is in the frames, as it would stand on a plain wire. Where there is an error, what came before it is
    /// there.
    fn open(&mut self, batch: &Batch<'_>, plain: &mut Vec<u8>) -> Result<(), Fault> {
        let sealed = batch.own.cloned().unwrap_or_else(|| Bytes::copy_from_slice(batch.bytes));
        for item in batch.items {
            let Item::Message { wire, .. } = item else { continue };
            let answers = self.connection.pending_transmit_size();
            let fed = self.connection.handle_input(sealed.slice(wire.clone()));
            let mut is_part = true;
            while let Some(event) = self.connection.poll_event() {
                is_part = false;
                match event {
                    Event::Command(Command::Subscribe(prefix)) => command(plain, b"SUBSCRIBE", &prefix),
                    Event::Command(Command::Cancel(prefix)) => command(plain, b"CANCEL", &prefix),
                    _ => {}
                }
            }
            while let Some(message) = self.connection.poll_message() {
                (is_part, self.assembled, self.has_passed) = (false, 0, true);
                let parts: Vec<&[u8]> = (0..message.len()).filter_map(|i| message.part_slice(i)).collect();
                join(plain, parts.into_iter());
            }
            if self.connection.pending_transmit_size() > answers {
                // A heartbeat, which has been answered already.
                self.links.counts.commands.fetch_add(1, Relaxed);
            } else if is_part {
                self.assembled += wire.len() + PART;
            }
            fed.map_err(Fault::Secure)?;
        }
        Ok(())
    }
}
