//! What a service says.

use std::time::{Duration, SystemTime};

use reqwest::header::HeaderMap;

/// The longest wait that a service may ask for.
pub const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// Of what is longer than both together, this much of the beginning and of the end is shown.
const BEGINNING: usize = 200;
const END: usize = 100;

/// A service's answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// How long the service asks to wait before the next request (`Retry-After` with 403, 429 and 503), an hour at most.
    pub wait: Option<Duration>,
    /// Its body, the first 256 KiB, what is no UTF-8 replaced.
    pub body: String,
}

impl Answer {
    /// An answer with what its headers say.
    pub fn new(status: u16, headers: HeaderMap, body: String) -> Answer {
        let mut answer = Answer { status, headers, wait: None, body };
        answer.wait = answer.retry_after();
        answer
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What time it is by the service's clock, by this host's where the service does not say.
    pub fn time(&self) -> SystemTime {
        let told = self.header("date").and_then(|date| httpdate::parse_http_date(date).ok());
        told.unwrap_or_else(SystemTime::now)
    }

    /// One line for the log: the status, and a text, mostly the body, without control characters; of a long one the
    /// first 200 and the last 100 characters.
    pub fn said(&self, text: &str) -> String {
        let clean = || text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
        let length = clean().count();
        let line: String = if length > BEGINNING + END {
            clean().take(BEGINNING).chain([' ', '…', ' ']).chain(clean().skip(length - END)).collect()
        } else {
            clean().collect()
        };
        match line.trim() {
            "" => format!("answered {}", self.status),
            line => format!("answered {}: {line}", self.status),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        if !matches!(self.status, 403 | 429 | 503) {
            return None;
        }
        let asked = self.header("retry-after")?.trim();
        let seconds = asked.parse().map(Duration::from_secs).ok();
        let until = || httpdate::parse_http_date(asked).ok()?.duration_since(self.time()).ok();
        seconds.or_else(until).map(|wait| wait.min(LONGEST_WAIT))
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn reads_how_long_to_wait() {
        let wait = |status, retry_after: &str| {
            let mut headers = HeaderMap::new();
            headers.append("date", HeaderValue::from_static("Sun, 09 Sep 2001 01:46:40 GMT"));
            headers.append("retry-after", HeaderValue::from_str(retry_after).unwrap());
            Answer::new(status, headers, String::new()).wait.map(|wait| wait.as_secs())
        };
        assert_eq!(wait(429, "7"), Some(7));
        assert_eq!(wait(200, "7"), None);
        // By the service's own clock.
        assert_eq!(wait(503, "Sun, 09 Sep 2001 01:46:50 GMT"), Some(10));
        assert_eq!(wait(503, "99999999"), Some(3600));
        assert_eq!(wait(503, "soon"), None);
    }

    #[test]
    fn a_message_is_one_bounded_line() {
        let answer = Answer::new(400, HeaderMap::new(), String::new());
        assert_eq!(answer.said("\r\n"), "answered 400");
        assert_eq!(answer.said("no\u{1b}[31m\nway"), "answered 400: no [31m way");
        let long = format!("{}:{}", "x".repeat(1000), "y".repeat(99));
        let cut = format!("{} … :{}", "x".repeat(200), "y".repeat(99));
        assert_eq!(answer.said(&long), format!("answered 400: {cut}"));
    }
}
