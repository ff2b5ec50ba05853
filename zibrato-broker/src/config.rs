use std::path::PathBuf;
use std::time::Duration;

use zibrato_keys::KeyPair;

use crate::keep::Limits;

/// How a broker is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address to listen on: an IP address or a host name; `127.0.0.1` by default.
    pub listen: String,
    /// The first of three ports: in, out, ask. With 0, any three that follow each other; 5550 by default.
    pub port: u16,
    /// The directory of the state file; `None` (the default) keeps everything in memory only.
    pub state: Option<PathBuf>,
    /// The first of the legacy gateway's two ports (in, out); 0 is any. `None` (the default) is no gateway.
    pub legacy_port: Option<u16>,
    /// How much is kept, and for how long.
    pub limits: Limits,
    /// The broker's key pair: with it all connections are encrypted and authenticated (CURVE, RFC 26). `None` (the
    /// default) is neither.
    pub keys: Option<KeyPair>,
    /// The file of identities that are let in, read again when it changes; see [`zibrato_keys::Allowed`]. `None` (the
    /// default) lets in everybody, with [`keys`](Self::keys) everybody who knows the public one of them.
    pub allow: Option<PathBuf>,
    /// Whether to listen beyond loopback without keys; false by default.
    pub insecure: bool,
    /// How much peers may make the broker hold.
    pub connections: ConnectionLimits,
    /// How long to listen on the other ports before the in port is opened, so that subscribers are back
    /// before publishers are; 400 ms by default.
    pub head_start: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: "127.0.0.1".into(),
            port: 5550,
            state: None,
            legacy_port: None,
            limits: Limits::default(),
            keys: None,
            allow: None,
            insecure: false,
            connections: ConnectionLimits::default(),
            head_start: Duration::from_millis(400),
        }
    }
}

/// How much peers may make the broker hold. What is beyond a limit is refused or dropped, counted, and named in the log.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// How long a handshake may take; 5 s by default.
    pub handshake: Duration,
    /// Most handshakes that are not done yet. Beyond, the oldest one of the address that has most is ended; 1024 by
    /// default.
    pub handshakes: usize,
    /// Most connections to all ports together. Beyond, the address that has most gives one up for others; 10,000 by
    /// default.
    pub connections: usize,
    /// Most connections of one address; 8,000 by default.
    pub per_address: usize,
    /// Most connections of one identity; 1,000 by default.
    pub per_identity: usize,
    /// Most bytes of messages that wait for one subscriber, which misses what is beyond; 16 MiB by default.
    pub behind_bytes: usize,
    /// Most messages that wait for one subscriber; 20,000 by default.
    pub behind_messages: usize,
    /// Most bytes that wait for all peers together. Beyond, each identity or address still has its share of another
    /// quarter, and each connection of one more; 256 MiB by default.
    pub outgoing_bytes: usize,
    /// Most bytes of messages that have not come whole yet, of all peers together. Beyond, of the address that has most
    /// the one that has waited longest loses its connection; 256 MiB by default.
    pub incoming_bytes: usize,
    /// How long a message may take to come whole; 60 s by default.
    pub message_time: Duration,
    /// Most subscriptions of one connection; 1024 by default.
    pub subscriptions: usize,
    /// Most frames a second of one identity, or of one address where there are none; what is beyond is dropped. `None`
    /// (the default) is no limit.
    pub frames_per_second: Option<u64>,
    /// Most bytes of frames a second, likewise.
    pub bytes_per_second: Option<u64>,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        ConnectionLimits {
            handshake: Duration::from_secs(5),
            handshakes: 1024,
            connections: 10_000,
            per_address: 8_000,
            per_identity: 1_000,
            behind_bytes: 16 << 20,
            behind_messages: 20_000,
            outgoing_bytes: 256 << 20,
            incoming_bytes: 256 << 20,
            message_time: Duration::from_secs(60),
            subscriptions: 1024,
            frames_per_second: None,
            bytes_per_second: None,
        }
    }
}
