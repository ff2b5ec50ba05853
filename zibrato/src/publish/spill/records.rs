//! What is in a file of spilled totals.
//!
//! The first line is [`FIRST_LINE`]. The second says when the file was written: the machine's boot id, a blank, and for
//! how long the machine had been running, in nanoseconds; or nothing. A run of records follows: the length of a topic as
//! four bytes, big-endian, the topic, and the same for a frame as it would have been sent. The last four bytes are the
//! CRC-32 of everything before them, big-endian. Files of the first version are the records only.

use std::collections::BTreeMap;

use zibrato_core::clock::Moment;
use zibrato_core::frame::{Frame, InstanceId, decode};
use zibrato_core::level;

/// Tells the format.
const FIRST_LINE: &[u8] = b"zibrato spilled totals 2\n";

/// Frames by what they are a set of: instance, level, and number.
pub(super) type Sets = BTreeMap<(InstanceId, String, u64), Vec<Frame>>;

/// What a file has.
#[derive(Debug, PartialEq)]
pub(super) struct Contents {
    /// When it was written, if that is known.
    pub(super) moment: Option<Moment>,
    pub(super) sets: Sets,
}

/// The file of these frames, each with its level.
pub(super) fn written<'a>(
    moment: Option<&Moment>,
    frames: impl Iterator<Item = (&'a str, Vec<u8>)>,
) -> Vec<u8> {
    let mut bytes = FIRST_LINE.to_vec();
    let line = moment.map_or(String::new(), |Moment { boot, uptime }| format!("{boot} {uptime}"));
    bytes.extend_from_slice(line.as_bytes());
    bytes.push(b'\n');
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
pub(super) fn read(file: &[u8]) -> Option<Contents> {
    if !file.starts_with(FIRST_LINE) {
        return (!file.is_empty()).then(|| Some(Contents { moment: None, sets: sets(file)? }))?;
    }
    let (summed, sum) = file.split_last_chunk::<4>()?;
    (crc32fast::hash(summed) == u32::from_be_bytes(*sum)).then_some(())?;
    let rest = summed.strip_prefix(FIRST_LINE)?;
    let end = rest.iter().position(|&byte| byte == b'\n')?;
    let (line, records) = (std::str::from_utf8(&rest[..end]).ok()?, &rest[end + 1..]);
    let moment = match line.split_once(' ') {
        Some((boot, uptime)) => Some(Moment { boot: boot.into(), uptime: uptime.parse().ok()? }),
        None => line.is_empty().then_some(None)?,
    };
    Some(Contents { moment, sets: sets(records)? })
}

/// Whether a file was written to its end, and is of the version that tells.
pub(super) fn is_whole(file: &[u8]) -> bool {
    file.starts_with(FIRST_LINE) && read(file).is_some()
}

fn sets(mut bytes: &[u8]) -> Option<Sets> {
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
