//! Peers for the tests: free ports, raw listeners, and the broker's three sockets.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, reason = "these are tests, though not marked so")]

use omq_tokio::{Message, Options, Socket, SocketType};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use zibrato_transport::Broker;

/// Much longer than anything here takes: it ends a test that hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A broker address of which no port is in use. Below the ephemeral range, in which a client that tries
/// again and again would some day connect to itself.
pub fn free() -> Broker {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 4000) as u16;
    loop {
        let port = 10_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 5000 * 4;
        let taken: Result<Vec<_>, _> =
            (port..port + 3).map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port))).collect();
        if taken.is_ok() {
            return secured(Broker::new("127.0.0.1", port));
        }
    }
}

/// Whether the tests of this program are about connections that CURVE protects.
pub fn curve() -> bool {
    env!("CARGO_CRATE_NAME") == "curve"
}

#[cfg(feature = "curve")]
pub use self::keys::*;

#[cfg(feature = "curve")]
mod keys {
    use super::*;
    use omq_proto::proto::connection::{Connection, ConnectionConfig, Event, Role};
    use omq_proto::{CurveKeypair, CurvePublicKey, CurveSecretKey, CurveServerOptions, MechanismSetup};
    use std::io::{Read, Write};
    use std::sync::LazyLock;
    use zibrato_keys::KeyPair;
    use zibrato_transport::Security;

    pub static BROKER: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate().unwrap());
    pub static CLIENT: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate().unwrap());

    pub fn secured(broker: Broker) -> Broker {
        if !curve() {
            return broker;
        }
        broker.secured(Security::Curve { own: CLIENT.clone(), broker: BROKER.public() })
    }

    fn mechanism() -> (CurveKeypair, CurveServerOptions) {
        let pair = CurveKeypair {
            public: CurvePublicKey::from_bytes(*BROKER.public().as_bytes()),
            secret: CurveSecretKey::from_bytes(*BROKER.secret().reveal()),
        };
        // Whoever else has found the port is no client of the test.
        let expected = *CLIENT.public().as_bytes();
        (pair, CurveServerOptions::new().authenticator(move |peer| peer.public_key == expected))
    }

    pub fn options() -> Options {
        let (pair, options) = mechanism();
        if curve() { Options::default().curve_server_with_options(pair, options) } else { Options::default() }
    }

    /// The broker's end of a connection, before its handshake.
    pub fn codec(kind: SocketType) -> Connection {
        let (our_keypair, options) = mechanism();
        let mechanism = MechanismSetup::CurveServer { our_keypair, options };
        Connection::new(ConnectionConfig::new(Role::Server, kind).mechanism(mechanism))
    }

    /// Does the broker's part of a handshake; gives its end.
    pub fn shake_hands(stream: &mut std::net::TcpStream, kind: SocketType) -> std::io::Result<Connection> {
        let mut codec = codec(kind);
        let mut input = [0; 4096];
        loop {
            stream.write_all(&codec.poll_transmit())?;
            codec.advance_transmit(codec.pending_transmit_size());
            if matches!(codec.poll_event(), Some(Event::HandshakeSucceeded { .. })) {
                return Ok(codec);
            }
            let length = stream.read(&mut input)?;
            if length == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            codec.handle_input(input[..length].to_vec().into()).map_err(std::io::Error::other)?;
        }
    }

    pub fn greet_secretly(stream: &mut std::net::TcpStream) {
        shake_hands(stream, SocketType::Pull).unwrap();
    }
}

#[cfg(not(feature = "curve"))]
pub use self::no_keys::*;

#[cfg(not(feature = "curve"))]
mod no_keys {
    use super::*;

    pub fn secured(broker: Broker) -> Broker {
        broker
    }

    pub fn options() -> Options {
        Options::default()
    }

    pub fn greet_secretly(_: &mut std::net::TcpStream) {
        panic!("tests of CURVE need the feature");
    }
}

pub async fn soon(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("never happened: {what}"),
    }
}

pub async fn listen(kind: SocketType, address: &str) -> Socket {
    within("a free port", async {
        loop {
            let socket = Socket::new(kind, options());
            if socket.bind(address).await.is_ok() {
                return socket;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

pub async fn pull(broker: &Broker) -> Socket {
    listen(SocketType::Pull, &broker.push_address()).await
}

pub fn parts(message: &Message) -> Vec<Vec<u8>> {
    message.iter().map(|part| part.to_vec()).collect()
}

/// The next two-part message's parts.
pub async fn next(socket: &Socket) -> (String, Vec<u8>) {
    let message = within("a message", socket.recv()).await.unwrap();
    let [topic, frame] = <[Vec<u8>; 2]>::try_from(parts(&message)).unwrap();
    (String::from_utf8(topic).unwrap(), frame)
}

pub fn beat(boot: u8) -> Message {
    let mut body = vec![0x93, 1, 0xc4, 16];
    body.extend([boot; 16]);
    body.push(0xcf);
    body.extend(1_700_000_000_000_000_000u64.to_be_bytes());
    Message::multipart([b"beat|".to_vec(), body])
}

/// How much memory the process has, in bytes.
#[cfg(target_os = "linux")]
pub fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
