//! Peers that say byte for byte what a test wants, from an address of loopback that it chooses.
#![allow(dead_code, unreachable_pub)] // Every test file uses another part of it.
#![allow(clippy::unwrap_used)] // It is for tests only.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// A ZMTP 3.1 greeting with the NULL mechanism.
pub fn greeting() -> Vec<u8> {
    let mut bytes = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1];
    bytes.extend(b"NULL");
    bytes.resize(64, 0);
    bytes
}

/// A greeting and a READY command of a socket type.
pub fn ready(kind: &str) -> Vec<u8> {
    let mut body = b"\x05READY\x0bSocket-Type".to_vec();
    body.extend((kind.len() as u32).to_be_bytes());
    body.extend(kind.as_bytes());
    let mut bytes = greeting();
    bytes.extend([4, body.len() as u8]);
    bytes.extend(body);
    bytes
}

/// Connects from 127.0.0.`from`.
pub fn reach(address: &str, from: u8) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, from), 0)).into())?;
    let to: SocketAddr = address.trim_start_matches("tcp://").parse().unwrap();
    socket.connect(&to.into())?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The same, and shakes hands.
pub fn greeted(address: &str, kind: &str, from: u8) -> std::io::Result<TcpStream> {
    let mut stream = reach(address, from)?;
    stream.write_all(&ready(kind))?;
    stream.read_exact(&mut [0; 64])?;
    read_part(&mut stream)?;
    Ok(stream)
}

/// The flags and the bytes of a part or command.
pub fn read_part(stream: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let mut header = [0; 9];
    stream.read_exact(&mut header[..2])?;
    let mut length = u64::from(header[1]);
    if header[0] & 2 != 0 {
        stream.read_exact(&mut header[2..])?;
        length = header[1..].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    }
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body)?;
    Ok((header[0], body))
}

/// A message as it stands on the wire.
pub fn message(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        bytes.push(2 | u8::from(number + 1 < parts.len()));
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(*part);
    }
    bytes
}

/// Whether the other end has ended the connection, after what it has sent.
pub fn has_ended(stream: &mut TcpStream) -> bool {
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

/// The resident memory of this process, in bytes, where it can be known.
pub fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap_or("0 0");
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Connects and says something, without waiting for what is said to that.
pub fn attack(address: &str, from: u8, bytes: &[u8]) -> Option<TcpStream> {
    let mut stream = reach(address, from).ok()?;
    stream.write_all(bytes).ok()?;
    Some(stream)
}
