//! Frames: what travels between the parts. `docs/wire.md` describes the bytes, with test vectors.
//!
//! A frame carries state, not events: the totals of some metrics of one instance at one level.

mod decode;
mod encode;
mod row;

pub(crate) use decode::skip;
pub use decode::{BadFrame, BadRow, Decoded, decode, decode_head, decode_state};
pub use encode::{encode_head, encode_row, encode_set, encode_state};
pub use row::{Description, Gauge, Key, Kind, Point, Row, Span, Spread, State, Tags, Total};

/// The version of the frame format that this crate writes, and the only one that it reads.
pub const VERSION: u64 = 1;

/// A process that measures, in one of its lives: random, new with every start, fork and end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub [u8; 16]);

impl InstanceId {
    /// A new random id.
    ///
    /// Where the operating system has no randomness to give, the id is made of the time and the process id.
    pub fn random() -> Self {
        let mut id = [0; 16];
        if getrandom::fill(&mut id).is_err() {
            let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos() as u64;
            id[..8].copy_from_slice(&now.to_be_bytes());
            id[8..12].copy_from_slice(&std::process::id().to_be_bytes());
        }
        InstanceId(id)
    }
}

impl std::fmt::Display for InstanceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl std::fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// What a set is, as bits of the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u64);

impl Flags {
    /// The set has every metric of the level.
    pub const COMPLETE: Flags = Flags(1);
    /// The instance ends with this set.
    pub const LAST: Flags = Flags(2);
    /// The set has only metrics that are retired with it.
    pub const RETIRED: Flags = Flags(4);
    /// Some row is marked for tracing.
    pub const TRACED: Flags = Flags(8);

    /// Whether all bits of `other` are set.
    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both together.
    pub fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// What a frame says of itself before its rows.
///
/// All times are nanoseconds since 1970 UTC on the sender's clock; receivers only take differences of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Who sends.
    pub instance: InstanceId,
    /// When the totals of this level were zero.
    pub started_at: u64,
    /// Number of the set within its instance and level, from 1; all parts of a set share it.
    pub sequence: u64,
    /// Number of the newest complete set before (or equal to) this one: this set holds what changed since.
    pub base: u64,
    /// Which part of the set this is, from 0.
    pub part: u32,
    /// How many parts the set has, at least 1.
    pub parts: u32,
    /// When this frame was sent; never before `started_at`.
    pub sent_at: u64,
    /// What the set is.
    pub flags: Flags,
    /// The source of every row that does not name its own.
    pub source: String,
}

impl Head {
    /// How long the level had been counted when the frame was sent, in nanoseconds, on the sender's clock.
    pub fn age(&self) -> u64 {
        self.sent_at.saturating_sub(self.started_at)
    }

    /// Whether the set has every metric of the level.
    pub fn is_complete(&self) -> bool {
        self.flags.has(Flags::COMPLETE)
    }
}

/// A whole frame: a head and its rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// What the frame says of itself.
    pub head: Head,
    /// The state of some metrics.
    pub rows: Vec<Row>,
}
