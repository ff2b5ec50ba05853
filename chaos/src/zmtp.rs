//! As much of ZMTP 3 as is needed to tell messages apart on a connection without encryption.

use bytes::{Bytes, BytesMut};

/// How long the greeting is that each end begins with.
pub const GREETING: usize = 64;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// What came, as it is on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unit {
    /// A command, as in the handshake and for subscriptions and heartbeats.
    Command(Bytes),
    /// A whole message, all of its frames.
    Message(Bytes),
}

/// Takes the first whole unit out of what has been read; `None` where more has to be read.
pub fn take(read: &mut BytesMut) -> Option<Unit> {
    let mut at = 0;
    loop {
        let flags = *read.get(at)?;
        let (size, head) = if flags & LONG == 0 {
            (u64::from(*read.get(at + 1)?), 2)
        } else {
            let size: [u8; 8] = read.get(at + 1..at + 9)?.try_into().ok()?;
            (u64::from_be_bytes(size), 9)
        };
        let end = at + head + usize::try_from(size).ok()?;
        if read.len() < end {
            return None;
        }
        if flags & COMMAND != 0 {
            // Commands come between messages, never within one.
            return Some(Unit::Command(read.split_to(end).freeze()));
        }
        if flags & MORE == 0 {
            return Some(Unit::Message(read.split_to(end).freeze()));
        }
        at = end;
    }
}

/// The frames of a whole message.
pub fn parts(mut message: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let [flags, rest @ ..] = message {
        let head = if flags & LONG == 0 {
            rest.split_first().map(|(size, rest)| (u64::from(*size), rest))
        } else {
            rest.split_first_chunk().map(|(size, rest)| (u64::from_be_bytes(*size), rest))
        };
        let part = head.and_then(|(size, rest)| rest.split_at_checked(usize::try_from(size).ok()?));
        let Some((part, rest)) = part else { break };
        parts.push(part);
        message = rest;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart_wherever_they_are_cut() {
        let command = [&[4, 5][..], b"READY"].concat();
        let message = [&[1, 2][..], b"ab", &[3, 0, 0, 0, 0, 0, 0, 0, 1], b"c", &[0, 0]].concat();
        let wire = [&command[..], &message, &message].concat();
        let mut read = BytesMut::new();
        let mut units = Vec::new();
        for byte in wire {
            read.extend_from_slice(&[byte]);
            while let Some(unit) = take(&mut read) {
                units.push(unit);
            }
        }
        assert_eq!(parts(&message), [&b"ab"[..], b"c", b""]);
        let message = Unit::Message(message.into());
        assert_eq!(units, [Unit::Command(command.into()), message.clone(), message]);
        assert!(read.is_empty());
    }
}
