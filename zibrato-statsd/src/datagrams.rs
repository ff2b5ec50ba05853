//! Datagrams: over UDP or to a Unix socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
#[cfg(unix)]
use tokio::net::UnixDatagram;

use crate::address::Address;
use crate::stream::within;

/// What collectd reads at once; others read more.
pub(crate) const MOST: usize = 4096;
/// Headers of IP and UDP.
const HEADERS_V4: usize = 28;
const HEADERS_V6: usize = 48;
/// What Ethernet carries, where the system does not know the path.
const ETHERNET: usize = 1500;
/// After so long a name is looked up again: the daemon may have moved, and nobody says so.
const LOOKED_UP: Duration = Duration::from_secs(60);
/// A burst of so many bytes is followed by a pause, in which the daemon empties its buffer: Linux gives it 208 KiB, of
/// which small packets use several times their size.
const BURST: usize = 32 << 10;
const PAUSE: Duration = Duration::from_millis(1);

/// A socket that datagrams are sent from.
#[derive(Debug)]
pub(crate) struct Datagrams {
    socket: Socket,
    payload: usize,
    patience: Duration,
    opened: Instant,
    /// Bytes since the last pause.
    burst: usize,
}

#[derive(Debug)]
enum Socket {
    Udp {
        socket: UdpSocket,
        is_loopback: bool,
        /// Whether the address was a name.
        is_name: bool,
    },
    #[cfg(unix)]
    Unix(UnixDatagram),
}

/// Why a packet was not sent, or may not have arrived.
#[derive(Debug)]
pub(crate) struct Unsent {
    pub(crate) why: io::Error,
    /// Whether it is certain that it did not arrive.
    pub(crate) certain: bool,
}

impl Datagrams {
    /// Opens a socket that sends to `address`, which must be one for datagrams; each may wait for room so long.
    pub(crate) async fn open(
        address: &Address,
        mtu: Option<u32>,
        patience: Duration,
    ) -> io::Result<Datagrams> {
        let mtu = mtu.map(|mtu| mtu as usize);
        let (socket, payload) = match address {
            #[cfg(unix)]
            Address::Unixgram(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                (Socket::Unix(socket), mtu.unwrap_or(MOST))
            }
            Address::Udp(host) => udp(host, mtu).await?,
            _ => return Err(io::Error::new(io::ErrorKind::Unsupported, "there are no such sockets here")),
        };
        Ok(Datagrams { socket, payload, patience, opened: Instant::now(), burst: 0 })
    }

    /// Most bytes of one datagram.
    pub(crate) fn payload(&self) -> usize {
        self.payload
    }

    /// Whether it should be opened anew, because the name may mean another address by now.
    pub(crate) fn is_old(&self) -> bool {
        matches!(self.socket, Socket::Udp { is_name: true, .. }) && self.opened.elapsed() > LOOKED_UP
    }

    /// Sends one, and pauses now and then.
    pub(crate) async fn send(&mut self, packet: &[u8]) -> Result<(), Unsent> {
        if self.burst > BURST {
            self.burst = 0;
            tokio::time::sleep(PAUSE).await;
        }
        self.burst += packet.len();
        let certainly = |why| Unsent { why, certain: true };
        match &self.socket {
            Socket::Udp { socket, is_loopback, .. } => {
                if let Err(why) = within(self.patience, socket.send(packet)).await {
                    // It may be about a packet before: then this one is not sent, and nobody listened.
                    return Err(certainly(why));
                }
                // On loopback the answer that nobody listens is there at once; else it may be another packet's.
                match socket.take_error() {
                    Ok(None) => Ok(()),
                    Ok(Some(why)) | Err(why) => Err(Unsent { why, certain: *is_loopback }),
                }
            }
            #[cfg(unix)]
            Socket::Unix(socket) => {
                within(self.patience, socket.send(packet)).await.map(drop).map_err(certainly)
            }
        }
    }
}

async fn udp(host: &str, mtu: Option<usize>) -> io::Result<(Socket, usize)> {
    let is_name = host.parse::<SocketAddr>().is_err();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in tokio::net::lookup_host(host).await? {
        let any = match address.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = match UdpSocket::bind((any, 0)).await {
            Ok(socket) => socket,
            Err(why) => {
                failed = why;
                continue;
            }
        };
        if let Err(why) = socket.connect(address).await {
            failed = why;
            continue;
        }
        let headers = if address.is_ipv4() { HEADERS_V4 } else { HEADERS_V6 };
        let payload = match mtu {
            Some(mtu) => mtu - headers,
            None => (path_mtu(&socket, address.is_ipv4()).unwrap_or(ETHERNET).max(128) - headers).min(MOST),
        };
        let is_loopback = address.ip().is_loopback();
        return Ok((Socket::Udp { socket, is_loopback, is_name }, payload));
    }
    Err(failed)
}

#[cfg(target_os = "linux")]
fn path_mtu(socket: &UdpSocket, is_v4: bool) -> Option<usize> {
    use rustix::net::sockopt::{ip_mtu, ipv6_mtu};
    let mtu = if is_v4 { ip_mtu(socket) } else { ipv6_mtu(socket) };
    mtu.ok().and_then(|mtu| usize::try_from(mtu).ok())
}

#[cfg(not(target_os = "linux"))]
fn path_mtu(_: &UdpSocket, _: bool) -> Option<usize> {
    None
}
