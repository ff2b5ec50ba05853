//! The listening sockets and their limits.

use std::time::Duration;

use omq_tokio::{KeepAlive, Options, Socket, SocketType, SubscriptionAdmission};
use zibrato_core::limits;

use crate::error::Error;

/// A message may pass the limit of a frame by this much, so that it is refused and counted as too large
/// instead of costing its sender the connection.
const SLACK: usize = 64 << 10;
/// Messages that wait in the broker for one subscriber, and bytes; beyond either it misses what comes.
const BEHIND: u32 = 20_000;
const BEHIND_BYTES: usize = 16 << 20;

/// Longest topic: a level and its bar.
pub(crate) const TOPIC: usize = limits::LEVEL + 1;
/// Longest start of an old line that a subscription may ask for.
pub(crate) const LINE: usize = 1024;

fn options() -> Options {
    let keepalive =
        KeepAlive::Enabled { idle: Duration::from_secs(60), intvl: Duration::from_secs(20), cnt: 3 };
    let mut options = Options::default()
        .max_message_size(limits::FRAME + SLACK)
        .handshake_timeout(Duration::from_secs(5))
        .tcp_keepalive(keepalive);
    // ZMTP heartbeats stay off: the `zeromq` crate on the other side drops the connection on a PING.
    options.max_pending_handshakes = 1024;
    options
}

pub(crate) fn intake(kind: SocketType) -> Socket {
    let mut options = options().recv_hwm(4096);
    options.recv_batching = true;
    Socket::new(kind, options)
}

/// A PUB socket whose topics have at most `longest` bytes: longer subscriptions match nothing, and are not
/// remembered.
pub(crate) fn publish(longest: usize) -> Socket {
    let mut options = options().send_hwm(BEHIND);
    options.transmit_slot_cap = Some(BEHIND_BYTES);
    options.linger = Some(Duration::from_secs(1));
    // A subscriber has nothing to send but subscriptions.
    options.max_message_size = Some(SLACK);
    options.subscription_admission =
        Some(SubscriptionAdmission::new(move |request| request.prefix.len() <= longest));
    Socket::new(SocketType::Pub, options)
}

pub(crate) fn ask() -> Socket {
    let mut options = options().send_hwm(256).recv_hwm(256).router_mandatory(true);
    options.linger = Some(Duration::from_secs(1));
    Socket::new(SocketType::Router, options)
}

/// Listens on all addresses of `host` and a port.
pub(crate) async fn listen(socket: &Socket, host: &str, port: u16) -> Result<(), Error> {
    let address = address(host, port);
    match socket.bind(address.as_str()).await {
        Ok(_) => Ok(()),
        Err(source) => Err(Error::Listen { address, source }),
    }
}

pub(crate) fn address(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("tcp://[{host}]:{port}")
    } else {
        format!("tcp://{host}:{port}")
    }
}
