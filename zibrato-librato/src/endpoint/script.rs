//! What the endpoint is told to do with the requests to come.

use std::str::FromStr;
use std::time::Duration;

const MOST_REPEATS: usize = 100_000;

/// What to do with one submission; without a step it is checked and stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Check and store it, as without a script.
    Accept,
    /// Answer this status and store nothing.
    Status(u16),
    /// Answer this status with `Retry-After` in seconds, and store nothing.
    RetryAfter(u16, u64),
    /// Answer 429 with `X-Librato-RateLimit-*` headers that say when it resets, in seconds from now; store nothing.
    RateLimited(u64),
    /// Answer 400 that blames the measurement at this place of its list; store nothing.
    Blame(usize),
    /// Store it and close the connection without an answer.
    LoseAnswer,
    /// Close the connection and store nothing.
    Close,
    /// Wait, then go on as without a script.
    Slow(Duration),
}

/// A word that is no step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadStep(String);

impl std::fmt::Display for BadStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "read step {:?}: use ok, STATUS, STATUS:SECONDS, limit:SECONDS, 400#ENTRY, lose, close or slow:SECONDS",
            self.0
        )
    }
}

impl std::error::Error for BadStep {}

impl FromStr for Step {
    type Err = BadStep;

    /// `ok`, `503`, `429:2` (with `Retry-After: 2`), `limit:2` (429 with rate-limit headers), `400#3` (blames the
    /// fourth measurement), `lose`, `close`, `slow:0.5`.
    fn from_str(word: &str) -> Result<Self, BadStep> {
        let bad = || BadStep(word.into());
        let status = |text: &str| text.parse().ok().filter(|s| (200..600).contains(s)).ok_or_else(bad);
        Ok(match word {
            "ok" => Step::Accept,
            "lose" => Step::LoseAnswer,
            "close" => Step::Close,
            _ => match (word.split_once(':'), word.split_once('#')) {
                (Some(("slow", seconds)), _) => Step::Slow(
                    seconds.parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok()).ok_or_else(bad)?,
                ),
                (Some(("limit", seconds)), _) => Step::RateLimited(seconds.parse().map_err(|_| bad())?),
                (Some((code, seconds)), _) => {
                    Step::RetryAfter(status(code)?, seconds.parse().map_err(|_| bad())?)
                }
                (None, Some(("400", entry))) => Step::Blame(entry.parse().map_err(|_| bad())?),
                _ => Step::Status(status(word)?),
            },
        })
    }
}

/// Steps one after the other, read from a comma-separated list, each perhaps repeated as in `503*3`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script(Vec<Step>);

impl IntoIterator for Script {
    type Item = Step;
    type IntoIter = std::vec::IntoIter<Step>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl FromStr for Script {
    type Err = BadStep;

    fn from_str(text: &str) -> Result<Self, BadStep> {
        let mut steps = Vec::new();
        for word in text.split(',').map(str::trim).filter(|w| !w.is_empty()) {
            let (word, times) = match word.split_once('*') {
                Some((step, times)) => {
                    let times = times.parse().ok().filter(|&t| t <= MOST_REPEATS);
                    (step, times.ok_or_else(|| BadStep(word.into()))?)
                }
                None => (word, 1),
            };
            steps.extend(std::iter::repeat_n(word.parse::<Step>()?, times));
        }
        Ok(Script(steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_steps() {
        let steps: Script = "ok, 503*2,429:2,limit:3,400#3,lose,close,slow:0.5".parse().unwrap();
        assert_eq!(
            steps.0,
            [
                Step::Accept,
                Step::Status(503),
                Step::Status(503),
                Step::RetryAfter(429, 2),
                Step::RateLimited(3),
                Step::Blame(3),
                Step::LoseAnswer,
                Step::Close,
                Step::Slow(Duration::from_millis(500)),
            ]
        );
        for bad in ["no", "99", "503:x", "slow:-1", "401#2", "503*x"] {
            assert!(bad.parse::<Script>().is_err(), "{bad}");
        }
    }
}
