//! The ZMTP handshake, done by `omq-proto` and fed no more than a handshake needs.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use omq_proto::proto::connection::{Connection, ConnectionConfig, Event, Role};
use omq_proto::{MechanismSetup, SocketType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::links::Why;

const GREETING: usize = 64;
/// Where the greeting has the version, and where the mechanism.
const MAJOR: usize = 10;
const MECHANISM: std::ops::Range<usize> = 12..32;
/// Longest command of a handshake. CURVE's longest has 257 bytes and what is said of the peer; `omq-proto` by itself
/// would wait for 256 KiB from anybody.
const COMMAND: usize = 4096;

/// A peer that is let in.
pub(crate) struct Shaken {
    /// The minor version of ZMTP that both speak.
    pub(crate) minor: u8,
    /// What encrypts, if anything does.
    pub(crate) secure: Option<Box<Connection>>,
    /// The long-term key that the peer proved to have.
    pub(crate) key: Option<[u8; 32]>,
}

/// Why a peer is not let in.
#[derive(Debug)]
pub(crate) struct NotShaken {
    pub(crate) why: Why,
    pub(crate) detail: String,
}

impl NotShaken {
    fn new(why: Why, detail: impl fmt::Display) -> NotShaken {
        NotShaken { why, detail: detail.to_string() }
    }
}

impl From<std::io::Error> for NotShaken {
    fn from(error: std::io::Error) -> Self {
        NotShaken::new("handshake_broken", error)
    }
}

/// Shakes hands as the side that was connected to.
pub(crate) async fn shake(
    stream: &mut TcpStream,
    kind: SocketType,
    mechanism: MechanismSetup,
    most: usize,
    time: Duration,
) -> Result<Shaken, NotShaken> {
    // In a box, so that a connection is small once it is done.
    match tokio::time::timeout(time, Box::pin(within_time(stream, kind, mechanism, most))).await {
        Ok(result) => result,
        Err(_) => Err(NotShaken::new("handshake_time", format_args!("not done within {time:?}"))),
    }
}

async fn within_time(
    stream: &mut TcpStream,
    kind: SocketType,
    mechanism: MechanismSetup,
    most: usize,
) -> Result<Shaken, NotShaken> {
    let is_secure = mechanism.has_frame_transform();
    let ours = greeting(&mechanism, is_secure);
    // A connection that says nothing costs no more than this: `Connection` has a buffer of 64 KiB from the start.
    // And the mechanism comes last, as libzmq has it too: a libzmq that reads of another than its own goes at once, and
    // nobody could count why.
    stream.write_all(&ours[..=MAJOR]).await?;
    let mut theirs = [0; GREETING];
    // As early as it can be told, because what speaks another protocol may wait for an answer.
    stream.read_exact(&mut theirs[..=MAJOR]).await?;
    if theirs[0] != 0xff || theirs[9] & 1 == 0 {
        return Err(NotShaken::new("no_zmtp", "it does not speak ZMTP"));
    }
    if theirs[MAJOR] < 3 {
        return Err(NotShaken::new("old_zmtp", "it speaks a ZMTP before version 3"));
    }
    stream.read_exact(&mut theirs[MAJOR + 1..]).await?;
    stream.write_all(&ours[MAJOR + 1..]).await?;
    if theirs[MECHANISM] != ours[MECHANISM] {
        let name = theirs[MECHANISM].split(|b| *b == 0).next().unwrap_or_default();
        return Err(NotShaken::new("mechanism", format_args!("it wants {}", name.escape_ascii())));
    }

    let config = ConnectionConfig::new(Role::Server, kind).max_message_size(most).mechanism(mechanism);
    let mut connection = Box::new(Connection::new(config));
    // The greeting has been sent already.
    connection.advance_transmit(GREETING);
    let mut fed = connection.handle_input(Bytes::copy_from_slice(&theirs));
    loop {
        // Also when it failed, because then it says why.
        while connection.has_pending_transmit() {
            let written = stream.write(&connection.poll_transmit()).await?;
            connection.advance_transmit(written);
        }
        fed.map_err(refused)?;
        if connection.is_ready() {
            break;
        }
        // No byte more than the handshake has: what follows is split by this program.
        let mut command = Vec::with_capacity(256);
        command.resize(2, 0);
        stream.read_exact(&mut command).await?;
        let mut length = usize::from(command[1]);
        match command[0] {
            4 => {}
            6 => {
                command.resize(9, 0);
                stream.read_exact(&mut command[2..]).await?;
                let long = command[1..].iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
                length = usize::try_from(long).unwrap_or(usize::MAX);
            }
            _ => return Err(NotShaken::new("bad_handshake", "something else than a command")),
        }
        if length > COMMAND {
            return Err(NotShaken::new("bad_handshake", format_args!("a command of {length} bytes")));
        }
        let header = command.len();
        command.resize(header + length, 0);
        stream.read_exact(&mut command[header..]).await?;
        fed = connection.handle_input(command.into());
    }
    let Some(Event::HandshakeSucceeded { peer_minor, peer_properties }) = connection.poll_event() else {
        return Err(NotShaken::new("bad_handshake", "it is done without a result"));
    };
    let key = match &peer_properties.authentication.public_key {
        Some(omq_proto::PeerPublicKey::Curve(key)) => Some(*key),
        _ => None,
    };
    Ok(Shaken { minor: peer_minor, secure: is_secure.then_some(connection), key })
}

fn greeting(mechanism: &MechanismSetup, is_server: bool) -> [u8; GREETING] {
    let mut bytes = [0; GREETING];
    (bytes[0], bytes[9]) = (0xff, 0x7f);
    (bytes[MAJOR], bytes[MAJOR + 1]) = (3, 1);
    let name = mechanism.wire_name();
    let name = name.as_str().unwrap_or_default().as_bytes();
    bytes[MECHANISM.start..MECHANISM.start + name.len()].copy_from_slice(name);
    bytes[MECHANISM.end] = u8::from(is_server);
    bytes
}

/// The counter for what `omq-proto` says; its errors have no kinds for the mechanism's.
fn refused(error: omq_proto::Error) -> NotShaken {
    let detail = error.to_string();
    let why = match &error {
        _ if detail.contains("incompatible socket types") => "socket_type",
        _ if detail.contains("authentication failed") => "unknown_key",
        _ if detail.contains("HELLO") => "other_broker_key",
        _ if detail.contains("CURVE") => "bad_curve",
        _ => "bad_handshake",
    };
    NotShaken { why, detail }
}
