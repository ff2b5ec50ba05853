//! Which messages are taken: two parts, a topic that names a level, a frame whose head is sound.

use zibrato_core::frame::{BadFrame, Head, decode_head};
use zibrato_core::level;

/// A message that can be kept and passed on.
pub(crate) struct Admitted<'a> {
    pub(crate) level: &'a str,
    pub(crate) head: Head,
    pub(crate) frame: &'a [u8],
}

/// Why a message is refused; the words are the names of the counters.
pub(crate) type Reason = &'static str;

pub(crate) const PARTS: Reason = "parts";
pub(crate) const TOPIC: Reason = "topic";
pub(crate) const FORGOTTEN: Reason = "forgotten";
/// The sender may not use that level.
pub(crate) const LEVEL: Reason = "level";
/// The sender has sent more than it may in a second.
pub(crate) const RATE: Reason = "rate";

pub(crate) fn admit<'a>(topic: &'a [u8], frame: &'a [u8]) -> Result<Admitted<'a>, Reason> {
    let level = level::of_topic(topic).ok_or(TOPIC)?;
    let head = decode_head(frame).map_err(reason)?;
    Ok(Admitted { level, head, frame })
}

fn reason(bad: BadFrame) -> Reason {
    match bad {
        BadFrame::Truncated => "truncated",
        BadFrame::TooLarge => "too_large",
        BadFrame::WrongType => "wrong_type",
        BadFrame::UnknownVersion => "unknown_version",
        BadFrame::Impossible => "impossible",
        BadFrame::BadName => "bad_name",
        _ => "bad_frame",
    }
}
