//! What is in a file of spilled totals.
//!
//! The first line is [`FIRST_LINE`]. A run of records follows: the length of a topic as four bytes, big-endian, the
//! topic, and the same for a frame as it would have been sent. The last four bytes are the CRC-32 of everything before
//! them, big-endian. Files of Zibrato before 0.1 are the records only.

use std::collections::BTreeMap;

use zibrato_core::frame::{Frame, InstanceId, decode};
use zibrato_core::level;

/// Tells the format.
const FIRST_LINE: &[u8] = b"zibrato spilled totals 2\n";

/// Frames by what they are a set of: instance, level, and number.
pub(super) type Sets = BTreeMap<(InstanceId, String, u64), Vec<Frame>>;

/// The file of these frames, each with its level.
pub(super) fn written<'a>(frames: impl Iterator<Item = (&'a str, Vec<u8>)>) -> Vec<u8> {
    let mut bytes = FIRST_LINE.to_vec();
    for (level, frame) in frames {
        for part in [level::topic(level).as_bytes(), &frame] {
            bytes.extend_from_slice(&(part.len() as u32).to_be_bytes());
            bytes.extend_from_slice(part);
        }
    }
    let sum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&sum.to_be_bytes());
    bytes
}

/// What is in a file; `None` if not all of it is as it was written.
pub(super) fn sets(file: &[u8]) -> Option<Sets> {
    let mut bytes = match file.strip_prefix(FIRST_LINE) {
        Some(_) => {
            let (summed, sum) = file.split_last_chunk::<4>()?;
            (crc32fast::hash(summed) == u32::from_be_bytes(*sum)).then_some(())?;
            summed.strip_prefix(FIRST_LINE)?
        }
        None if file.is_empty() => return None,
        None => file,
    };
    let mut sets = Sets::new();
    while !bytes.is_empty() {
        let level = level::of_topic(take(&mut bytes)?)?.to_string();
        let frame = decode(take(&mut bytes)?).ok().filter(|d| d.skipped.is_empty())?.frame;
        sets.entry((frame.head.instance, level, frame.head.sequence)).or_default().push(frame);
    }
    Some(sets)
}

fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (part, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *bytes = rest;
    Some(part)
}
