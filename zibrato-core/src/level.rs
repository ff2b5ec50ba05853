//! Levels: a label on every metric, by which it is switched on, sent and subscribed to.

use crate::limits::{BadName, check_level};

/// The level of whatever names none.
pub const DEFAULT: &str = "info";
/// The level under which Zibrato's own parts report on themselves.
pub const OWN: &str = "zibrato";
/// The level of what hops tell of marked rows, see [`trace`](crate::trace).
pub const TRACE: &str = "mtrace";
/// The topic word of the broker's sign of life; no level may be called so.
pub const BEAT: &str = "beat";

/// The first part of a message with a frame of `level`: the label and a bar, so that a prefix is exact.
pub fn topic(level: &str) -> String {
    format!("{level}|")
}

/// The level that a topic names, or `None` where it is no topic.
pub fn of_topic(topic: &[u8]) -> Option<&str> {
    let level = std::str::from_utf8(topic.strip_suffix(b"|")?).ok()?;
    check_level(level).ok().map(|()| level)
}

/// Which levels are on: all, all but some, or just some.
///
/// Written as a comma-separated list: `*` (or nothing) is every level but [`TRACE`], `info,error` just these two,
/// `*,!debug` all but one, `*,mtrace` really all. Blanks around commas do not count; labels are case-sensitive and exact.
///
/// ```
/// use zibrato_core::level::Levels;
/// let levels: Levels = "info, error".parse()?;
/// assert!(levels.contains("error") && !levels.contains("err"));
/// assert!("*,!debug".parse::<Levels>()?.contains("anything"));
/// # Ok::<(), zibrato_core::level::BadLevels>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Levels {
    all: bool,
    only: Vec<String>,
    not: Vec<String>,
}

impl Default for Levels {
    fn default() -> Self {
        Self::ALL
    }
}

impl Levels {
    /// Every level but [`TRACE`], which has to be named.
    pub const ALL: Levels = Levels { all: true, only: Vec::new(), not: Vec::new() };

    /// Whether `level` is among them.
    pub fn contains(&self, level: &str) -> bool {
        let listed = || self.only.iter().any(|l| l == level);
        ((self.all && level != TRACE) || listed()) && !self.not.iter().any(|l| l == level)
    }

    /// The topics to subscribe to: one a level, or the empty prefix where all are wanted.
    pub fn topics(&self) -> Vec<String> {
        if self.all {
            return vec![String::new()];
        }
        self.only.iter().filter(|l| self.contains(l)).map(|l| topic(l)).collect()
    }

    /// Whether every level is on that is not excluded.
    pub fn is_all(&self) -> bool {
        self.all
    }

    /// The labels that were excluded.
    pub fn excluded(&self) -> &[String] {
        &self.not
    }

    /// The labels that were listed, empty where all levels are wanted.
    pub fn listed(&self) -> &[String] {
        if self.all { &[] } else { &self.only }
    }
}

/// A list of levels that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLevels {
    label: String,
    why: BadName,
}

impl std::fmt::Display for BadLevels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "read level {:?}: {}", self.label, self.why)
    }
}

impl std::error::Error for BadLevels {}

impl std::str::FromStr for Levels {
    type Err = BadLevels;

    fn from_str(s: &str) -> Result<Self, BadLevels> {
        let mut levels = Levels { all: false, only: Vec::new(), not: Vec::new() };
        for label in s.split(',').map(str::trim).filter(|l| !l.is_empty()) {
            if label == "*" {
                levels.all = true;
                continue;
            }
            let (list, name) = match label.strip_prefix('!') {
                Some(name) => (&mut levels.not, name),
                None => (&mut levels.only, label),
            };
            check_level(name).map_err(|why| BadLevels { label: name.into(), why })?;
            if !list.iter().any(|l| l == name) {
                list.push(name.into());
            }
        }
        levels.all |= levels.only.is_empty();
        Ok(levels)
    }
}

impl std::fmt::Display for Levels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = self.all.then_some("*");
        // Next to all levels, only the one that is not among them says anything.
        let only = self.only.iter().filter(|l| !self.all || *l == TRACE).map(String::as_str);
        let words: Vec<String> = all
            .into_iter()
            .chain(only)
            .map(String::from)
            .chain(self.not.iter().map(|l| format!("!{l}")))
            .collect();
        f.write_str(&words.join(","))
    }
}
