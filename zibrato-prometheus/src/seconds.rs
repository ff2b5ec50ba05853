//! Times on the command line.

use std::time::Duration;

/// A number of seconds, for `--stale`.
///
/// # Errors
/// When it is none from 1 to 31536000, a year.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|s| (1.0..=31_536_000.0).contains(s));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "it is no number of seconds from 1 to 31536000".into())
}
