//! Lines on their way.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use crate::Address;

/// Most bytes of one datagram: what Ethernet carries, less the headers.
const DATAGRAM: usize = 1432;

/// Sends whole lines; over TCP it returns when carbon has read all of them.
pub(crate) async fn send(address: &Address, text: &str) -> io::Result<()> {
    match address {
        Address::Tcp(host) => {
            let mut stream = TcpStream::connect(host).await?;
            stream.write_all(text.as_bytes()).await?;
            // Carbon acknowledges nothing, but closes its side when it has read ours to the end.
            stream.shutdown().await?;
            let mut nothing = [0; 64];
            while stream.read(&mut nothing).await? > 0 {}
            Ok(())
        }
        Address::Udp(host) => {
            let there = tokio::net::lookup_host(host).await?.next();
            let there =
                there.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))?;
            let socket = UdpSocket::bind(if there.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).await?;
            socket.connect(there).await?;
            for packet in packets(text) {
                socket.send(packet.as_bytes()).await?;
            }
            // That nobody listens on this machine is known by now.
            socket.take_error()?.map_or(Ok(()), Err)
        }
    }
}

/// Whole lines in packets; a line that is longer than a packet has one of its own.
fn packets(text: &str) -> Vec<&str> {
    let (mut packets, mut begin, mut end) = (Vec::new(), 0, 0);
    for line in text.split_inclusive('\n') {
        if end > begin && end + line.len() - begin > DATAGRAM {
            packets.push(&text[begin..end]);
            begin = end;
        }
        end += line.len();
    }
    if end > begin {
        packets.push(&text[begin..end]);
    }
    packets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_full_and_have_whole_lines() {
        let text: String = (0..200).map(|i| format!("web1.requests.{i}.count 1 1800000000\n")).collect();
        let packets = packets(&text);
        assert_eq!(packets.concat(), text);
        assert!(packets.iter().all(|packet| packet.len() <= DATAGRAM && packet.ends_with('\n')));
        assert_eq!(packets.len(), text.len().div_ceil(DATAGRAM - 40));
        assert!(super::packets("").is_empty());
        assert_eq!(super::packets(&"x".repeat(2000)).len(), 1);
    }
}
