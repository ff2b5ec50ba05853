use std::sync::Arc;

use rmp::Marker;

use super::{
    Description, Flags, Frame, Gauge, Head, InstanceId, Key, Kind, Point, Row, Span, Spread, State, Tags,
    Total, VERSION,
};
use crate::histogram::{self, Buckets, Histogram};
use crate::limits;
use crate::trace::{Event, Hop, Mark, Verdict};

/// Why a frame was refused as a whole. The `Display` text doubles as the name of its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum BadFrame {
    /// The bytes end inside the head, or there are none.
    Truncated,
    /// It is larger than [`limits::FRAME`] allows.
    TooLarge,
    /// An item of the head is of another type than it should be.
    WrongType,
    /// The version is not [`VERSION`].
    UnknownVersion,
    /// An item of the head has an impossible value: part beyond parts, no sequence, a time before the start.
    Impossible,
    /// The source is no allowed name.
    BadName,
}

impl std::fmt::Display for BadFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            BadFrame::Truncated => "truncated",
            BadFrame::TooLarge => "too_large",
            BadFrame::WrongType => "wrong_type",
            BadFrame::UnknownVersion => "unknown_version",
            BadFrame::Impossible => "impossible",
            BadFrame::BadName => "bad_name",
        })
    }
}

impl std::error::Error for BadFrame {}

/// Why a single row was skipped. The `Display` text doubles as the name of its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum BadRow {
    /// The bytes of the frame end inside the row; no row follows.
    Truncated,
    /// An item is of another type than it should be.
    WrongType,
    /// The kind is one of the future.
    UnknownKind,
    /// A number is not finite.
    NotFinite,
    /// A name, source or tag is no allowed name.
    BadName,
    /// It has more than [`limits::TAGS`] tags, or one twice.
    BadTags,
    /// A number has an impossible value: a negative counter, a bucket beyond the edge, min above max.
    Impossible,
}

impl std::fmt::Display for BadRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            BadRow::Truncated => "truncated",
            BadRow::WrongType => "wrong_type",
            BadRow::UnknownKind => "unknown_kind",
            BadRow::NotFinite => "not_finite",
            BadRow::BadName => "bad_name",
            BadRow::BadTags => "bad_tags",
            BadRow::Impossible => "impossible",
        })
    }
}

/// A frame as far as it could be understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The head, and the rows that are good. Where the bytes ended too early, the flags for a complete and a
    /// last set are taken away, because rows are missing.
    pub frame: Frame,
    /// Why rows were skipped, one entry each.
    pub skipped: Vec<BadRow>,
}

/// Decodes a frame. Rows that cannot be understood are skipped, the others are kept.
///
/// # Errors
/// When the head cannot be understood or the frame is larger than [`limits::FRAME`].
pub fn decode(bytes: &[u8]) -> Result<Decoded, BadFrame> {
    let mut input = Input(bytes);
    let mut head = read_head(&mut input)?;
    let source: Arc<str> = head.source.as_str().into();
    let announced = input.array().map_err(bad_head)?;
    // The announced number is not believed: no row has fewer than 6 bytes.
    let mut rows = Vec::with_capacity((announced as usize).min(input.0.len() / 6));
    let mut skipped = Vec::new();
    for _ in 0..announced {
        let whole = input;
        match read_row(&mut input, &source) {
            Ok(row) => rows.push(row),
            Err(Wrong::Cut) => {
                skipped.push(BadRow::Truncated);
                head.flags.0 &= !(Flags::COMPLETE.0 | Flags::LAST.0);
                break;
            }
            Err(Wrong::Row(why)) => {
                skipped.push(why);
                input = whole;
                if input.skip().is_err() {
                    head.flags.0 &= !(Flags::COMPLETE.0 | Flags::LAST.0);
                    break;
                }
            }
        }
    }
    Ok(Decoded { frame: Frame { head, rows }, skipped })
}

/// Decodes only the head of a frame, in constant time whatever follows it.
///
/// # Errors
/// As [`decode`].
pub fn decode_head(bytes: &[u8]) -> Result<Head, BadFrame> {
    let mut input = Input(bytes);
    let head = read_head(&mut input)?;
    input.array().map_err(bad_head)?;
    Ok(head)
}

/// Decodes the state of a row of `kind`, as [`encode_state`](super::encode_state) writes it.
///
/// # Errors
/// As for a row of a frame.
pub fn decode_state(kind: Kind, bytes: &[u8]) -> Result<State, BadRow> {
    read_state(&mut Input(bytes), kind).map_err(|wrong| match wrong {
        Wrong::Cut => BadRow::Truncated,
        Wrong::Row(why) => why,
    })
}

/// Passes over one item; `None` where the bytes end before it does.
pub(crate) fn skip(bytes: &mut &[u8]) -> Option<()> {
    let mut input = Input(bytes);
    input.skip().ok()?;
    *bytes = input.0;
    Some(())
}

fn read_head(input: &mut Input<'_>) -> Result<Head, BadFrame> {
    if input.0.len() > limits::FRAME {
        return Err(BadFrame::TooLarge);
    }
    let items = input.array().map_err(bad_head)?;
    if input.uint().map_err(bad_head)? != VERSION {
        return Err(BadFrame::UnknownVersion);
    }
    if items < 11 {
        return Err(BadFrame::Truncated);
    }
    let head = read_head_items(input).map_err(bad_head)?;
    let sane = head.parts >= 1
        && head.parts <= limits::PARTS
        && head.part < head.parts
        && head.sequence >= 1
        && head.base <= head.sequence
        && head.is_complete() == (head.base == head.sequence)
        && head.sent_at >= head.started_at;
    if !sane {
        return Err(BadFrame::Impossible);
    }
    limits::check_name(&head.source).map_err(|_| BadFrame::BadName)?;
    Ok(head)
}

fn read_head_items(input: &mut Input<'_>) -> Result<Head, Wrong> {
    let instance = input.bin()?.try_into().map_err(|_| Wrong::Row(BadRow::WrongType))?;
    let (started_at, sequence, base) = (input.uint()?, input.uint()?, input.uint()?);
    let (part, parts) = (input.uint()?, input.uint()?);
    let (sent_at, flags, source) = (input.uint()?, input.uint()?, input.str()?);
    let small = |n: u64| u32::try_from(n).map_err(|_| Wrong::Row(BadRow::Impossible));
    Ok(Head {
        instance: InstanceId(instance),
        started_at,
        sequence,
        base,
        part: small(part)?,
        parts: small(parts)?,
        sent_at,
        flags: Flags(flags),
        source: source.into(),
    })
}

fn bad_head(wrong: Wrong) -> BadFrame {
    match wrong {
        Wrong::Cut => BadFrame::Truncated,
        Wrong::Row(BadRow::Impossible) => BadFrame::Impossible,
        Wrong::Row(_) => BadFrame::WrongType,
    }
}

fn read_row(input: &mut Input<'_>, head_source: &Arc<str>) -> Result<Row, Wrong> {
    let items = input.array()?;
    let kind = input.uint()?;
    let kind = Kind::from_code(kind).ok_or(Wrong::Row(BadRow::UnknownKind))?;
    if items < 5 {
        return Err(Wrong::Row(BadRow::WrongType));
    }
    let name = input.name()?;
    let tags = read_tags(input)?;
    let born = input.uint()?;
    let state = read_state(input, kind)?;
    let source = if items > 5 { input.optional(Input::name)? } else { None };
    let trace = if items > 6 { input.optional(Input::uint)? } else { None };
    let source = source.unwrap_or_else(|| head_source.clone());
    let key = Key { kind, name, source, tags, born };
    let event = match &state {
        State::Point(point) if items > 7 => {
            input.optional(|input| read_event(input, &key, point, head_source))?.map(Arc::new)
        }
        _ => None,
    };
    for _ in 7 + u32::from(matches!(state, State::Point(_)))..items {
        input.skip()?;
    }
    Ok(Row { key, state, trace, event })
}

fn read_event(input: &mut Input<'_>, key: &Key, point: &Point, by: &Arc<str>) -> Result<Event, Wrong> {
    let items = input.array()?;
    if items < 12 {
        return Err(Wrong::Row(BadRow::WrongType));
    }
    let hop = Hop::from_code(input.uint()?).ok_or(Wrong::Row(BadRow::UnknownKind))?;
    let verdict = Verdict::from_code(input.uint()?).ok_or(Wrong::Row(BadRow::UnknownKind))?;
    let instance = input.bin()?.try_into().map_err(|_| Wrong::Row(BadRow::WrongType))?;
    let level = input.str()?;
    limits::check_level(level).map_err(|_| Wrong::Row(BadRow::BadName))?;
    let (sequence, number) = (input.uint()?, input.uint()?);
    let kind = Kind::from_code(input.uint()?).ok_or(Wrong::Row(BadRow::UnknownKind))?;
    let State::Total(total) = read_state(input, Kind::Updown)? else {
        return Err(Wrong::Row(BadRow::WrongType));
    };
    let (count, batch) = (input.optional(Input::uint)?, input.optional(Input::uint)?);
    let (backend, why) = (input.optional(Input::name)?, input.optional(Input::name)?);
    for _ in 12..items {
        input.skip()?;
    }
    let key = Key { kind, ..key.clone() };
    let mark =
        Mark { instance: InstanceId(instance), level: level.into(), sequence, number, key, total, count };
    Ok(Event { hop, verdict, time: point.time, by: by.clone(), mark, backend, batch, why })
}

fn read_tags(input: &mut Input<'_>) -> Result<Tags, Wrong> {
    let n = input.map()?;
    if n == 0 {
        return Ok(Tags::none());
    }
    if n as usize > limits::TAGS {
        return Err(Wrong::Row(BadRow::BadTags));
    }
    let pairs = (0..n).map(|_| Ok((input.name()?, input.name()?))).collect::<Result<Vec<_>, Wrong>>()?;
    let tags = Tags::new(pairs);
    if tags.len() == n as usize { Ok(tags) } else { Err(Wrong::Row(BadRow::BadTags)) }
}

fn read_state(input: &mut Input<'_>, kind: Kind) -> Result<State, Wrong> {
    let items = input.array()?;
    let used = match kind {
        Kind::Counter | Kind::Updown => items.clamp(1, 2),
        Kind::Timer | Kind::Distribution => items.clamp(6, 7),
        Kind::Gauge if items < 6 => 2,
        Kind::Gauge => 6,
        Kind::Point => 3,
        Kind::Description => 2,
    };
    if items < used {
        return Err(Wrong::Row(BadRow::WrongType));
    }
    let state = match kind {
        Kind::Counter | Kind::Updown => {
            let total = Total { whole: input.int()?, float: if used > 1 { input.float()? } else { 0.0 } };
            if kind == Kind::Counter && (total.whole < 0 || total.float < 0.0) {
                return Err(Wrong::Row(BadRow::Impossible));
            }
            State::Total(total)
        }
        Kind::Timer | Kind::Distribution => {
            let sum = Total { whole: input.int()?, float: input.float()? };
            let span = read_span(input)?;
            let zero = input.uint()?;
            let positive = read_buckets(input)?;
            let negative = if used > 6 { read_buckets(input)? } else { Buckets::default() };
            if kind == Kind::Timer && (!negative.is_empty() || sum.whole < 0) {
                return Err(Wrong::Row(BadRow::Impossible));
            }
            State::Spread(Spread { sum, span, histogram: Histogram { zero, positive, negative } })
        }
        Kind::Gauge => {
            let (value, set_at) = (input.float()?, input.uint()?);
            let statistics =
                if used > 2 { Some((input.uint()?, input.float()?, read_span(input)?)) } else { None };
            State::Gauge(Gauge { value, set_at, statistics })
        }
        Kind::Point => {
            State::Point(Point { number: input.uint()?, time: input.uint()?, value: input.float()? })
        }
        Kind::Description => {
            State::Description(Description { unit: input.str()?.into(), help: input.str()?.into() })
        }
    };
    for _ in used..items {
        input.skip()?;
    }
    Ok(state)
}

fn read_span(input: &mut Input<'_>) -> Result<Option<Span>, Wrong> {
    match (input.optional(Input::float)?, input.optional(Input::float)?) {
        (Some(min), Some(max)) if min <= max => Ok(Some(Span { min, max })),
        (None, None) => Ok(None),
        _ => Err(Wrong::Row(BadRow::Impossible)),
    }
}

fn read_buckets(input: &mut Input<'_>) -> Result<Buckets, Wrong> {
    let n = input.array()?;
    if n % 2 != 0 {
        return Err(Wrong::Row(BadRow::WrongType));
    }
    let mut pairs = Vec::with_capacity((n as usize / 2).min(input.0.len() / 2));
    let mut index = 0i64;
    for i in 0..n / 2 {
        let (gap, count) = (input.int()?, input.uint()?);
        index = index.saturating_add(gap);
        let inside = (i64::from(histogram::LOWEST)..=i64::from(histogram::HIGHEST)).contains(&index);
        if !inside || (i > 0 && gap <= 0) {
            return Err(Wrong::Row(BadRow::Impossible));
        }
        pairs.push((index as i32, count));
    }
    Ok(Buckets::from_pairs(pairs))
}

enum Wrong {
    /// The bytes end.
    Cut,
    Row(BadRow),
}

/// The bytes not yet read. Nothing in it believes a length before the bytes are there.
#[derive(Clone, Copy)]
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Wrong> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(Wrong::Cut)?;
        self.0 = rest;
        Ok(taken)
    }

    fn marker(&mut self) -> Result<Marker, Wrong> {
        Ok(Marker::from_u8(self.take(1)?[0]))
    }

    fn big_endian(&mut self, bytes: usize) -> Result<u64, Wrong> {
        Ok(self.take(bytes)?.iter().fold(0, |n, &b| n << 8 | u64::from(b)))
    }

    fn signed(&mut self, bytes: usize) -> Result<i64, Wrong> {
        let unused = 64 - 8 * bytes as u32;
        Ok((self.big_endian(bytes)? << unused) as i64 >> unused)
    }

    fn array(&mut self) -> Result<u32, Wrong> {
        match self.marker()? {
            Marker::FixArray(n) => Ok(u32::from(n)),
            Marker::Array16 => Ok(self.big_endian(2)? as u32),
            Marker::Array32 => Ok(self.big_endian(4)? as u32),
            _ => Err(Wrong::Row(BadRow::WrongType)),
        }
    }

    fn map(&mut self) -> Result<u32, Wrong> {
        match self.marker()? {
            Marker::FixMap(n) => Ok(u32::from(n)),
            Marker::Map16 => Ok(self.big_endian(2)? as u32),
            Marker::Map32 => Ok(self.big_endian(4)? as u32),
            _ => Err(Wrong::Row(BadRow::WrongType)),
        }
    }

    fn integer(&mut self) -> Result<i128, Wrong> {
        Ok(match self.marker()? {
            Marker::FixPos(n) => i128::from(n),
            Marker::FixNeg(n) => i128::from(n),
            Marker::U8 => i128::from(self.big_endian(1)?),
            Marker::U16 => i128::from(self.big_endian(2)?),
            Marker::U32 => i128::from(self.big_endian(4)?),
            Marker::U64 => i128::from(self.big_endian(8)?),
            Marker::I8 => i128::from(self.signed(1)?),
            Marker::I16 => i128::from(self.signed(2)?),
            Marker::I32 => i128::from(self.signed(4)?),
            Marker::I64 => i128::from(self.signed(8)?),
            _ => return Err(Wrong::Row(BadRow::WrongType)),
        })
    }

    fn uint(&mut self) -> Result<u64, Wrong> {
        u64::try_from(self.integer()?).map_err(|_| Wrong::Row(BadRow::Impossible))
    }

    fn int(&mut self) -> Result<i64, Wrong> {
        i64::try_from(self.integer()?).map_err(|_| Wrong::Row(BadRow::Impossible))
    }

    /// A finite number; whole numbers are taken too.
    fn float(&mut self) -> Result<f64, Wrong> {
        let before = *self;
        let value = match self.marker()? {
            Marker::F64 => f64::from_bits(self.big_endian(8)?),
            Marker::F32 => f64::from(f32::from_bits(self.big_endian(4)? as u32)),
            _ => {
                *self = before;
                self.integer()? as f64
            }
        };
        if value.is_finite() { Ok(value) } else { Err(Wrong::Row(BadRow::NotFinite)) }
    }

    fn str(&mut self) -> Result<&'a str, Wrong> {
        let n = match self.marker()? {
            Marker::FixStr(n) => u64::from(n),
            Marker::Str8 => self.big_endian(1)?,
            Marker::Str16 => self.big_endian(2)?,
            Marker::Str32 => self.big_endian(4)?,
            _ => return Err(Wrong::Row(BadRow::WrongType)),
        };
        std::str::from_utf8(self.take(n as usize)?).map_err(|_| Wrong::Row(BadRow::BadName))
    }

    fn name(&mut self) -> Result<Arc<str>, Wrong> {
        let name = self.str()?;
        limits::check_name(name).map_err(|_| Wrong::Row(BadRow::BadName))?;
        Ok(name.into())
    }

    fn bin(&mut self) -> Result<&'a [u8], Wrong> {
        let n = match self.marker()? {
            Marker::Bin8 => self.big_endian(1)?,
            Marker::Bin16 => self.big_endian(2)?,
            Marker::Bin32 => self.big_endian(4)?,
            _ => return Err(Wrong::Row(BadRow::WrongType)),
        };
        self.take(n as usize)
    }

    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Wrong>) -> Result<Option<T>, Wrong> {
        if self.0.first() == Some(&Marker::Null.to_u8()) {
            self.take(1)?;
            return Ok(None);
        }
        read(self).map(Some)
    }

    /// Passes over one item, however deep; every turn takes at least a byte, so it ends with the bytes.
    fn skip(&mut self) -> Result<(), Wrong> {
        let mut left = 1u64;
        while left > 0 {
            left -= 1;
            let bytes = match self.marker()? {
                Marker::FixPos(_) | Marker::FixNeg(_) | Marker::Null | Marker::True | Marker::False => 0,
                Marker::Reserved => 0,
                Marker::U8 | Marker::I8 => 1,
                Marker::U16 | Marker::I16 | Marker::FixExt1 => 2,
                Marker::U32 | Marker::I32 | Marker::F32 => 4,
                Marker::U64 | Marker::I64 | Marker::F64 => 8,
                Marker::FixExt2 => 3,
                Marker::FixExt4 => 5,
                Marker::FixExt8 => 9,
                Marker::FixExt16 => 17,
                Marker::FixStr(n) => u64::from(n),
                Marker::Str8 | Marker::Bin8 => self.big_endian(1)?,
                Marker::Str16 | Marker::Bin16 => self.big_endian(2)?,
                Marker::Str32 | Marker::Bin32 => self.big_endian(4)?,
                Marker::Ext8 => self.big_endian(1)? + 1,
                Marker::Ext16 => self.big_endian(2)? + 1,
                Marker::Ext32 => self.big_endian(4)? + 1,
                Marker::FixArray(n) => {
                    left += u64::from(n);
                    0
                }
                Marker::Array16 => {
                    left += self.big_endian(2)?;
                    0
                }
                Marker::Array32 => {
                    left += self.big_endian(4)?;
                    0
                }
                Marker::FixMap(n) => {
                    left += 2 * u64::from(n);
                    0
                }
                Marker::Map16 => {
                    left += 2 * self.big_endian(2)?;
                    0
                }
                Marker::Map32 => {
                    left += 2 * self.big_endian(4)?;
                    0
                }
            };
            self.take(bytes as usize)?;
        }
        Ok(())
    }
}
