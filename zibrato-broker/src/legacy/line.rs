use zibrato_core::limits;

/// Longest line that is looked at, in bytes.
const LINE: usize = 4096;
/// Whole numbers up to this size are exact as floating-point numbers.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A line of an old publisher.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line<'a> {
    /// The level.
    pub level: &'a str,
    /// The metric's name.
    pub name: &'a str,
    /// Type and value.
    pub reading: Reading,
    /// When the publisher sent it, in nanoseconds since 1970 UTC.
    pub time: u64,
    /// The source.
    pub source: &'a str,
}

/// What a line measures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reading {
    /// Something happened so many times.
    Counter(Increment),
    /// Something took so many nanoseconds.
    Timer(u64),
    /// Something has this value.
    Gauge(f64),
}

/// An increment of a counter; whole ones stay exact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Increment {
    /// A whole one.
    Whole(i64),
    /// One with a fraction, or beyond the range of the other.
    Float(f64),
}

/// Why a line was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum BadLine {
    /// It is longer than 4096 bytes.
    TooLong,
    /// It is not UTF-8.
    NotUtf8,
    /// It does not have six fields; a `|` in a name shifts them.
    Fields,
    /// The type is none of counter, timer, gauge, singular or plural.
    UnknownType,
    /// The level is no allowed label.
    BadLevel,
    /// The name or the source is empty, too long or has control characters.
    BadName,
    /// The value is no number.
    NotANumber,
    /// The value is infinite or no number of any size.
    NotFinite,
    /// A timer's value is negative or longer than 292 years.
    Impossible,
    /// The timestamp is no time since 1970.
    BadTime,
    /// A total would grow beyond what can be counted.
    Overflow,
    /// The gateway has no room for another level.
    TooManyLevels,
}

impl BadLine {
    /// The reason as one word, the name of its counter.
    pub fn reason(self) -> &'static str {
        match self {
            BadLine::TooLong => "line_too_long",
            BadLine::NotUtf8 => "line_not_utf8",
            BadLine::Fields => "line_fields",
            BadLine::UnknownType => "line_type",
            BadLine::BadLevel => "line_level",
            BadLine::BadName => "line_name",
            BadLine::NotANumber => "line_value",
            BadLine::NotFinite => "line_not_finite",
            BadLine::Impossible => "line_impossible",
            BadLine::BadTime => "line_time",
            BadLine::Overflow => "line_overflow",
            BadLine::TooManyLevels => "line_levels",
        }
    }
}

impl std::fmt::Display for BadLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            BadLine::TooLong => "line is longer than 4096 bytes",
            BadLine::NotUtf8 => "line is not UTF-8",
            BadLine::Fields => "line does not have six fields",
            BadLine::UnknownType => "type is none of Counter, Timer, Gauge",
            BadLine::BadLevel => "level is empty, too long or has characters that levels may not have",
            BadLine::BadName => "name or source is empty, too long or has control characters",
            BadLine::NotANumber => "value is no number",
            BadLine::NotFinite => "value is not finite",
            BadLine::Impossible => "value is impossible for a timer",
            BadLine::BadTime => "timestamp is no time since 1970",
            BadLine::Overflow => "total would overflow",
            BadLine::TooManyLevels => "too many levels",
        })
    }
}

impl std::error::Error for BadLine {}

enum Type {
    Counter,
    Timer,
    Gauge,
}

/// Reads a line. Any bytes give an answer; none of them a panic.
///
/// # Errors
/// When it is not exactly a line of the old protocol.
pub fn parse(line: &[u8]) -> Result<Line<'_>, BadLine> {
    if line.len() > LINE {
        return Err(BadLine::TooLong);
    }
    let line = std::str::from_utf8(line).map_err(|_| BadLine::NotUtf8)?;
    let mut fields = line.split('|');
    let mut next = || fields.next().ok_or(BadLine::Fields);
    let (level, kind, name, value, time, source) = (next()?, next()?, next()?, next()?, next()?, next()?);
    if fields.next().is_some() {
        return Err(BadLine::Fields);
    }
    let kind = read_type(kind).ok_or(BadLine::UnknownType)?;
    limits::check_level(level).map_err(|_| BadLine::BadLevel)?;
    limits::check_name(name).and_then(|()| limits::check_name(source)).map_err(|_| BadLine::BadName)?;
    let reading = match kind {
        Type::Counter => Reading::Counter(increment(value)?),
        Type::Timer => Reading::Timer(nanoseconds(value)?),
        Type::Gauge => Reading::Gauge(number(value)?),
    };
    Ok(Line { level, name, reading, time: read_time(time)?, source })
}

/// The type by its exact name, whatever the case. (The original guessed the most similar one, and took a
/// lower-case `timer` for a counter.)
fn read_type(word: &str) -> Option<Type> {
    let is = |name: &str| {
        let singular = word.strip_suffix(['s', 'S']).unwrap_or(word);
        singular.eq_ignore_ascii_case(name)
    };
    if is("counter") {
        Some(Type::Counter)
    } else if is("timer") {
        Some(Type::Timer)
    } else if is("gauge") {
        Some(Type::Gauge)
    } else {
        None
    }
}

/// A finite number, as Python prints it.
fn number(text: &str) -> Result<f64, BadLine> {
    let value: f64 = text.trim_ascii().parse().map_err(|_| BadLine::NotANumber)?;
    if value.is_finite() { Ok(value) } else { Err(BadLine::NotFinite) }
}

fn increment(text: &str) -> Result<Increment, BadLine> {
    if let Ok(whole) = text.trim_ascii().parse::<i64>() {
        return Ok(Increment::Whole(whole));
    }
    let value = number(text)?;
    if value.fract() == 0.0 && value.abs() <= EXACT {
        return Ok(Increment::Whole(value as i64));
    }
    Ok(Increment::Float(value))
}

/// Seconds as whole nanoseconds.
fn nanoseconds(text: &str) -> Result<u64, BadLine> {
    if let Some(exact) = written_nanoseconds(text.trim_ascii()) {
        return if exact < i64::MAX as u64 { Ok(exact) } else { Err(BadLine::Impossible) };
    }
    let value = (number(text)? * 1e9).round();
    if (0.0..i64::MAX as f64).contains(&value) { Ok(value as u64) } else { Err(BadLine::Impossible) }
}

/// Seconds that are written as digits with up to nine of them after the point, exactly: as a floating-point number,
/// a hundred days are no longer exact to the nanosecond.
fn written_nanoseconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if fraction.len() > 9 || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let fraction: u64 = format!("{fraction:0<9}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(fraction)
}

/// Seconds since 1970 as nanoseconds; whole ones exactly.
fn read_time(text: &str) -> Result<u64, BadLine> {
    if let Ok(whole) = text.trim_ascii().parse::<u64>() {
        return whole.checked_mul(1_000_000_000).filter(|&t| t <= i64::MAX as u64).ok_or(BadLine::BadTime);
    }
    nanoseconds(text).map_err(|_| BadLine::BadTime)
}
