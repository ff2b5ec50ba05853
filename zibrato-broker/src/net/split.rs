//! Splits wire bytes of ZMTP 3 into messages and commands, without copying and without I/O.

use std::ops::Range;

/// What a part counts besides its bytes, so that empty parts without end are bounded as well.
const PART: usize = 64;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// How large what a peer sends may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WireLimits {
    /// Most bytes of a message or command, 64 a part included.
    pub(crate) message: usize,
    /// Most parts of a message, and commands between them.
    pub(crate) parts: usize,
}

/// What encryption adds to a part: the name of the command, the nonce, the tag and the flags.
const SEAL: usize = 8 + 8 + 16 + 1;

/// Why a connection cannot go on; the words are the names of counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadWire {
    /// Flags that no version defines, or a command in parts.
    Flags,
    /// A message beyond the limit, by what its headers say.
    TooLong,
    TooManyParts,
    /// A command without a name.
    Command,
}

impl BadWire {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            BadWire::Flags => "bad_wire",
            BadWire::TooLong => "too_long",
            BadWire::TooManyParts => "too_many_parts",
            BadWire::Command => "bad_command",
        }
    }
}

/// Something whole on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Message {
        /// With all headers.
        wire: Range<usize>,
        /// Its parts, in [`Split::parts`].
        parts: Range<usize>,
        /// Whether a command stands between the parts (libzmq's heartbeat may), so that the bytes cannot be passed
        /// on as they are.
        is_mixed: bool,
    },
    /// The bytes after the header.
    Command(Range<usize>),
}

/// What bytes split into; reused, to allocate nothing.
#[derive(Debug, Default)]
pub(crate) struct Split {
    pub(crate) items: Vec<Item>,
    /// The parts of all messages, without headers.
    pub(crate) parts: Vec<Range<usize>>,
}

/// What is left at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rest {
    /// Where the unfinished message or command begins.
    pub(crate) from: usize,
    /// How many bytes it has at least, as far as its headers are here; 0 if nothing is left.
    pub(crate) known: usize,
}

impl Split {
    /// Splits `bytes`, which begin where a message or command does, into `self`.
    ///
    /// # Errors
    /// When the bytes break the rules, or the limits. What came before is in `self`.
    pub(crate) fn split(&mut self, bytes: &[u8], limits: WireLimits) -> Result<Rest, BadWire> {
        self.items.clear();
        self.parts.clear();
        let (mut at, mut from, mut first, mut size, mut between) = (0, 0, 0, 0usize, 0);
        while at < bytes.len() {
            let flags = bytes[at];
            let is_command = flags & COMMAND != 0;
            if flags & !(MORE | LONG | COMMAND) != 0 || (is_command && flags & MORE != 0) {
                self.parts.truncate(first);
                return Err(BadWire::Flags);
            }
            let header = if flags & LONG != 0 { 9 } else { 2 };
            let Some(length) = bytes.get(at + 1..at + header) else {
                return Ok(self.rest(from, first, at + header));
            };
            let length = length.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
            let own = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(PART);
            let total = if is_command { own } else { size.saturating_add(own) };
            if total > limits.message {
                self.parts.truncate(first);
                return Err(BadWire::TooLong);
            }
            let body = at + header;
            let end = body + (own - PART);
            if is_command {
                if end > bytes.len() {
                    return Ok(self.rest(from, first, end));
                }
                if body == end {
                    self.parts.truncate(first);
                    return Err(BadWire::Command);
                }
                self.items.push(Item::Command(body..end));
                at = end;
                if self.parts.len() == first {
                    from = end;
                } else {
                    // They are held and looked at again with the rest of the message.
                    between += 1;
                    self.check_parts(first, between, limits)?;
                }
                continue;
            }
            size = total;
            self.check_parts(first, between, limits)?;
            if end > bytes.len() {
                return Ok(self.rest(from, first, end));
            }
            self.parts.push(body..end);
            at = end;
            if flags & MORE == 0 {
                let (parts, is_mixed) = (first..self.parts.len(), between > 0);
                self.items.push(Item::Message { wire: from..at, parts, is_mixed });
                (from, first, size, between) = (at, self.parts.len(), 0, 0);
            }
        }
        // Between two parts, the next header is what is missing.
        let known = if from < at { at + 2 } else { at };
        Ok(self.rest(from, first, known))
    }

    /// Splits encrypted bytes into frames, each of them an item of its own: what it is, and whether more of its message
    /// follows, is to be seen inside only.
    ///
    /// # Errors
    /// As [`split`](Self::split).
    pub(crate) fn split_sealed(&mut self, bytes: &[u8], limits: WireLimits) -> Result<Rest, BadWire> {
        self.items.clear();
        self.parts.clear();
        let mut at = 0;
        while at < bytes.len() {
            let flags = bytes[at];
            if flags & !(MORE | LONG | COMMAND) != 0 {
                return Err(BadWire::Flags);
            }
            let header = if flags & LONG != 0 { 9 } else { 2 };
            let Some(length) = bytes.get(at + 1..at + header) else {
                return Ok(Rest { from: at, known: header });
            };
            let length = length.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if length > limits.message.saturating_add(SEAL) {
                return Err(BadWire::TooLong);
            }
            let end = at + header + length;
            if end > bytes.len() {
                return Ok(Rest { from: at, known: end - at });
            }
            let parts = self.parts.len()..self.parts.len() + 1;
            self.parts.push(at + header..end);
            self.items.push(Item::Message { wire: at..end, parts, is_mixed: false });
            at = end;
        }
        Ok(Rest { from: at, known: 0 })
    }

    fn check_parts(&mut self, first: usize, between: usize, limits: WireLimits) -> Result<(), BadWire> {
        if self.parts.len() - first + between < limits.parts {
            return Ok(());
        }
        self.parts.truncate(first);
        Err(BadWire::TooManyParts)
    }

    fn rest(&mut self, from: usize, first: usize, known: usize) -> Rest {
        self.parts.truncate(first);
        // A command among the parts of what is not whole yet comes again with them.
        while let Some(Item::Command(body)) = self.items.last() {
            if body.start < from {
                break;
            }
            self.items.pop();
        }
        Rest { from, known: known - from }
    }
}

/// Where the part is that begins at `at`, and whether it is the last of its message; `None` if it is not there.
pub(crate) fn part(bytes: &[u8], at: usize) -> Option<(Range<usize>, bool)> {
    let flags = *bytes.get(at)?;
    let header = if flags & LONG != 0 { 9 } else { 2 };
    let length = bytes.get(at + 1..at + header)?.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let end = usize::try_from(length).ok()?.checked_add(at + header)?;
    (end <= bytes.len()).then_some((at + header..end, flags & MORE == 0))
}

/// Appends a message to wire bytes.
pub(crate) fn join<'a>(out: &mut Vec<u8>, parts: impl ExactSizeIterator<Item = &'a [u8]>) {
    let last = parts.len().saturating_sub(1);
    for (number, part) in parts.enumerate() {
        header(out, if number < last { MORE } else { 0 }, part.len());
        out.extend_from_slice(part);
    }
}

/// Appends a command: its name and what follows.
pub(crate) fn command(out: &mut Vec<u8>, name: &[u8], body: &[u8]) {
    header(out, COMMAND, 1 + name.len() + body.len());
    // Names are this program's own, and short.
    out.push(name.len() as u8);
    out.extend_from_slice(name);
    out.extend_from_slice(body);
}

/// Appends the header of a part or command.
fn header(out: &mut Vec<u8>, flags: u8, length: usize) {
    match u8::try_from(length) {
        Ok(length) => out.extend([flags, length]),
        Err(_) => {
            out.push(flags | LONG);
            out.extend((length as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LIMITS: WireLimits = WireLimits { message: 100_000, parts: 8 };

    fn split(bytes: &[u8]) -> (Vec<Item>, Vec<Vec<u8>>, Result<Rest, BadWire>) {
        let mut split = Split::default();
        let rest = split.split(bytes, LIMITS);
        let parts = split.parts.iter().map(|p| bytes[p.clone()].to_vec()).collect();
        (split.items, parts, rest)
    }

    #[test]
    fn what_is_joined_splits_again_wherever_it_is_cut() {
        let messages: [&[&[u8]]; 4] = [&[b"info|", &[7; 300]], &[b""], &[b"a", b"", &[1; 255]], &[&[2; 256]]];
        let (mut bytes, mut ends) = (Vec::new(), vec![0]);
        for message in messages {
            join(&mut bytes, message.iter().copied());
            ends.push(bytes.len());
        }
        command(&mut bytes, b"PING", b"\0\0x");
        ends.push(bytes.len());
        for cut in 0..=bytes.len() {
            let (items, _, rest) = split(&bytes[..cut]);
            let whole = ends.iter().filter(|e| **e <= cut).count() - 1;
            assert_eq!(items.len(), whole, "{cut}");
            let rest = rest.unwrap();
            assert_eq!(rest.from, ends[whole], "{cut}");
            if rest.from < cut {
                assert!(rest.known > cut - rest.from, "{cut}");
                assert!(rest.from + rest.known <= ends[whole + 1], "{cut}");
            } else {
                assert_eq!(rest.known, 0);
            }
        }
        let (items, parts, _) = split(&bytes);
        let (mut at, mut whole) = (0, 0);
        while let Some((body, is_last)) = part(&bytes[..ends[messages.len()]], at) {
            at = body.end;
            whole += usize::from(is_last);
        }
        assert_eq!((whole, items.len()), (messages.len(), messages.len() + 1));
        assert_eq!(parts, messages.concat().iter().map(|p| p.to_vec()).collect::<Vec<_>>());
    }

    #[test]
    fn a_command_between_parts_marks_the_message() {
        let bytes = [&[1, 1, b'a'][..], &[4, 5, 4, b'P', b'I', b'N', b'G'], &[0, 1, b'b']].concat();
        let (items, parts, rest) = split(&bytes);
        assert_eq!(items[0], Item::Command(5..10));
        assert_eq!(items[1], Item::Message { wire: 0..13, parts: 0..2, is_mixed: true });
        assert_eq!(parts, [b"a", b"b"]);
        assert_eq!(rest, Ok(Rest { from: 13, known: 0 }));
        // Not whole yet: nothing is told, and all of it comes again.
        let (items, _, rest) = split(&bytes[..11]);
        assert_eq!((items.len(), rest), (0, Ok(Rest { from: 0, known: 12 })));
    }

    #[test]
    fn commands_between_parts_are_few() {
        let ping = [4, 5, 4, b'P', b'I', b'N', b'G'];
        let bytes = |pings: usize| [&[1, 1, b'a'][..], &ping.repeat(pings), &[0, 1, b'b']].concat();
        assert_eq!(split(&bytes(LIMITS.parts - 2)).0.len(), LIMITS.parts - 1);
        assert_eq!(split(&bytes(LIMITS.parts - 1)).2, Err(BadWire::TooManyParts));
        // Between messages there may be as many as they like.
        assert_eq!(split(&ping.repeat(1000)).0.len(), 1000);
    }

    #[test]
    fn sealed_bytes_are_split_into_frames_wherever_they_are_cut() {
        let frames = [
            vec![0, 3, 1, 2, 3],
            vec![1, 1, 9],
            vec![4, 0],
            [&[2, 0, 0, 0, 0, 0, 0, 1, 1][..], &[7; 257]].concat(),
        ];
        let bytes = frames.concat();
        let mut split = Split::default();
        for cut in 0..=bytes.len() {
            let rest = split.split_sealed(&bytes[..cut], LIMITS).unwrap();
            let (mut whole, mut end) = (0, 0);
            while whole < frames.len() && end + frames[whole].len() <= cut {
                end += frames[whole].len();
                whole += 1;
            }
            assert_eq!((split.items.len(), rest.from), (whole, end), "{cut}");
            assert_eq!(rest.known > 0, end < cut, "{cut}");
            assert!(end == cut || rest.known > cut - end && rest.known <= frames[whole].len(), "{cut}");
        }
        assert_eq!(split.split_sealed(&[8, 0], LIMITS), Err(BadWire::Flags));
        let long = [&[2][..], &(1u64 << 63).to_be_bytes()].concat();
        assert_eq!(split.split_sealed(&long, LIMITS), Err(BadWire::TooLong));
    }

    #[test]
    fn what_breaks_the_rules_is_refused_by_its_header() {
        let long = |flags: u8, size: u64| [&[flags][..], &size.to_be_bytes()].concat();
        for (bytes, why) in [
            (vec![8, 0], BadWire::Flags),
            (vec![5, 1, 0], BadWire::Flags),
            (vec![4, 0], BadWire::Command),
            (long(2, 1 << 40), BadWire::TooLong),
            (long(3, 1 << 63), BadWire::TooLong),
            (long(6, u64::MAX), BadWire::TooLong),
            ([1, 0].repeat(9), BadWire::TooManyParts),
        ] {
            assert_eq!(split(&bytes).2, Err(why), "{bytes:?}");
        }
        let (items, _, why) = split(&[&[0, 1, 7][..], &[8, 0]].concat());
        assert_eq!((items.len(), why), (1, Err(BadWire::Flags)));
    }
}
