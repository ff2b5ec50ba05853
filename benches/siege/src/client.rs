//! A client that costs next to nothing: bytes of ZMTP 3.0 over blocking sockets.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// A greeting with the NULL mechanism.
pub(crate) fn greeting() -> Vec<u8> {
    let mut bytes = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0];
    bytes.extend(b"NULL");
    bytes.resize(64, 0);
    bytes
}

/// A greeting, and READY as a socket of this kind.
pub(crate) fn hello(kind: &str) -> Vec<u8> {
    let mut body = b"\x05READY\x0bSocket-Type".to_vec();
    body.extend((kind.len() as u32).to_be_bytes());
    body.extend(kind.as_bytes());
    let mut bytes = greeting();
    bytes.extend([4, body.len() as u8]);
    bytes.extend(body);
    bytes
}

/// Connects from an address of loopback: 127.0.0.`from`.
pub(crate) fn reach(port: u16, from: u8) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, from), 0)).into())?;
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects and shakes hands.
pub(crate) fn connect(port: u16, kind: &str, from: u8) -> io::Result<TcpStream> {
    let mut stream = reach(port, from)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(&hello(kind))?;
    stream.read_exact(&mut [0; 64])?;
    read_part(&mut stream)?;
    Ok(stream)
}

pub(crate) fn subscribe(stream: &mut TcpStream, topic: &[u8]) -> io::Result<()> {
    stream.write_all(&[&[0, topic.len() as u8 + 1, 1], topic].concat())
}

/// The flags and the bytes of one part or command.
pub(crate) fn read_part(stream: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
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

/// Appends a part.
pub(crate) fn part(out: &mut Vec<u8>, more: bool, body: &[u8]) {
    match u8::try_from(body.len()) {
        Ok(length) => out.extend([u8::from(more), length]),
        Err(_) => {
            out.push(2 | u8::from(more));
            out.extend((body.len() as u64).to_be_bytes());
        }
    }
    out.extend(body);
}

/// What the broker tells of itself.
pub(crate) fn info(port: u16) -> io::Result<serde_json::Value> {
    let mut stream = connect(port + 2, "DEALER", 1)?;
    let mut question = Vec::new();
    part(&mut question, true, b"info");
    part(&mut question, false, &[0x91, 1]);
    stream.write_all(&question)?;
    read_part(&mut stream)?;
    let (_, told) = read_part(&mut stream)?;
    // An array of an id and a string: what is between the braces.
    let start = told.iter().position(|b| *b == b'{').unwrap_or_default();
    serde_json::from_slice(&told[start..]).map_err(io::Error::other)
}

/// Messages of one instance whose frames have a given size: complete sets with rising sequences.
pub(crate) struct Messages {
    pub(crate) bytes: Vec<u8>,
    /// Of one message on the wire.
    pub(crate) size: usize,
    sequence: u64,
    at: usize,
}

/// Bytes of the head of a frame as they are made here; the smallest frame.
pub(crate) const HEAD: usize = 46;

impl Messages {
    pub(crate) fn new(instance: [u8; 16], frame: usize, count: usize) -> Messages {
        let mut one = Vec::new();
        part(&mut one, true, b"info|");
        let body = head(instance, 1, frame);
        part(&mut one, false, &body);
        let at = one.len() - body.len() + 22;
        Messages { size: one.len(), bytes: one.repeat(count), sequence: 0, at }
    }

    /// The next messages.
    pub(crate) fn next(&mut self) -> &[u8] {
        for message in self.bytes.chunks_exact_mut(self.size) {
            self.sequence += 1;
            for place in [self.at, self.at + 9] {
                message[place..place + 8].copy_from_slice(&self.sequence.to_be_bytes());
            }
        }
        &self.bytes
    }
}

/// A frame of `size` bytes: a sound head, no rows, and something that nobody reads.
pub(crate) fn head(instance: [u8; 16], sequence: u64, size: usize) -> Vec<u8> {
    let mut frame = vec![0x9b, 1, 0xc4, 16];
    frame.extend(instance);
    // Started at 1; sequence and base; part 0 of 1; sent at 2; complete; source "x"; no rows.
    frame.push(1);
    for _ in 0..2 {
        frame.push(0xcf);
        frame.extend(sequence.to_be_bytes());
    }
    frame.extend([0, 1, 2, 1, 0xa1, b'x', 0x90]);
    frame.resize(size.max(HEAD), 0);
    frame
}
