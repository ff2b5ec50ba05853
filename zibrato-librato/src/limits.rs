//! Librato's own headers, which say how much may still be sent.

use std::time::{Duration, SystemTime};

use zibrato_http::{Answer, LONGEST_WAIT};

/// How long the service asks to wait before the next request: with `Retry-After`, or with limits that are used up.
pub(crate) fn wait(answer: &Answer) -> Option<Duration> {
    // Resets are told by the service's clock, so they are compared with it where it is told too.
    let now = answer.time();
    let reset = ["x-librato-ratelimit-agg", "x-librato-ratelimit-std"]
        .into_iter()
        .filter_map(|name| answer.header(name))
        .filter_map(|limits| {
            let number = |key: &str| -> Option<u64> {
                let mut pairs = limits.split(',').filter_map(|pair| pair.split_once('='));
                pairs.find(|(k, _)| k.trim() == key)?.1.trim().parse().ok()
            };
            let used_up = number("remaining") == Some(0);
            let reset = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(number("reset")?))?;
            used_up.then_some(reset.duration_since(now).ok()?)
        })
        .max();
    answer.wait.or(reset).map(|wait| wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use zibrato_http::{HeaderMap, HeaderValue};

    use super::*;

    fn waits(status: u16, pairs: &[(&'static str, &str)]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.append("date", HeaderValue::from_static("Sun, 09 Sep 2001 01:46:40 GMT"));
        for (name, value) in pairs {
            headers.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        wait(&Answer::new(status, headers, String::new())).map(|w| w.as_secs())
    }

    #[test]
    fn reads_how_long_to_wait() {
        assert_eq!(waits(429, &[("retry-after", "7")]), Some(7));
        let agg = ("x-librato-ratelimit-agg", "limit=600000,remaining=599998,reset=1000000030");
        let std = ("x-librato-ratelimit-std", "reset=1000000060, remaining=0, limit=2");
        assert_eq!(waits(200, &[agg]), None);
        assert_eq!(waits(429, &[agg, std]), Some(60));
        assert_eq!(waits(200, &[agg, std]), Some(60));
        assert_eq!(waits(429, &[("retry-after", "5"), std]), Some(5));
        // By the service's own clock, which is 40 s ahead.
        assert_eq!(waits(429, &[std, ("date", "Sun, 09 Sep 2001 01:47:20 GMT")]), Some(20));
        assert_eq!(waits(429, &[("x-librato-ratelimit-agg", "nonsense,,=")]), None);
    }
}
