//! The limits that every part enforces, in one place.

/// Longest metric name, source, tag name or tag value, in bytes.
pub const NAME: usize = 255;
/// Longest help of a description, in bytes.
pub const HELP: usize = 1024;
/// Longest level label, in bytes.
pub const LEVEL: usize = 32;
/// Most tags of one metric.
pub const TAGS: usize = 16;
/// Most bytes of one frame; a larger set is split into parts.
pub const FRAME: usize = 1 << 20;
/// A level whose whole state fits this many bytes always sends complete sets.
pub const ALWAYS_COMPLETE: usize = 64 << 10;
/// Most metrics of one instance; what goes beyond is counted in one overflow metric.
pub const METRICS: usize = 10_000;
/// Most parts of one set.
pub const PARTS: u32 = 4096;

/// Why a name cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadName {
    /// It has no characters.
    Empty,
    /// It is longer than the limit, in bytes.
    TooLong {
        /// The limit that was passed.
        limit: usize,
    },
    /// It contains a character that has a meaning of its own (`|` in a level, control characters anywhere).
    Forbidden(char),
    /// It is a level label that the protocol uses itself.
    Reserved,
}

impl std::fmt::Display for BadName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadName::Empty => f.write_str("name is empty"),
            BadName::TooLong { limit } => write!(f, "name is longer than {limit} bytes"),
            BadName::Forbidden(c) => write!(f, "name contains {c:?}, which is not allowed"),
            BadName::Reserved => f.write_str("name is reserved for the protocol"),
        }
    }
}

impl std::error::Error for BadName {}

/// Checks a metric name, source, tag name or tag value.
///
/// # Errors
/// When it is empty, longer than [`NAME`] bytes, or contains a control character.
pub fn check_name(name: &str) -> Result<(), BadName> {
    check(name, NAME, |c| c.is_control())
}

/// Checks a level label.
///
/// # Errors
/// When it is empty, longer than [`LEVEL`] bytes, contains `|`, `,`, white space or a control character,
/// or is `beat`, the topic of the broker's own sign of life.
pub fn check_level(level: &str) -> Result<(), BadName> {
    check(level, LEVEL, |c| c == '|' || c == ',' || c.is_whitespace() || c.is_control())?;
    if level == crate::level::BEAT { Err(BadName::Reserved) } else { Ok(()) }
}

/// Reads a number of bytes, which may end with K, M or G (powers of 1024).
///
/// ```
/// use zibrato_core::limits::parse_bytes;
/// assert_eq!((parse_bytes("2k"), parse_bytes("512M"), parse_bytes("1.5G")), (Some(2048), Some(512 << 20), None));
/// ```
pub fn parse_bytes(text: &str) -> Option<usize> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text.get(digits.len()..)?.trim();
    let units = [("", 1), ("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30)];
    let factor = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1;
    digits.parse::<usize>().ok()?.checked_mul(factor)
}

fn check(name: &str, limit: usize, forbidden: impl Fn(char) -> bool) -> Result<(), BadName> {
    if name.is_empty() {
        return Err(BadName::Empty);
    }
    if name.len() > limit {
        return Err(BadName::TooLong { limit });
    }
    match name.chars().find(|&c| forbidden(c)) {
        Some(c) => Err(BadName::Forbidden(c)),
        None => Ok(()),
    }
}
