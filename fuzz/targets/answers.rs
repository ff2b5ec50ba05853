//! Answers of services, of any status, headers and body, have a verdict, and never cost what they do not name.
//!
//! The input is the status, the length of `Retry-After`, that, `Date` after its length, and the body.
#![no_main]
#![allow(dead_code, missing_docs)]

#[path = "../../zibrato-mtrace/src/bulk/fate.rs"]
mod bulk;
#[path = "../../zibrato-influx/src/verdict.rs"]
mod influx;
#[path = "../../zibrato-librato/src/verdict.rs"]
mod librato;
#[path = "../../zibrato-otlp/src/verdict.rs"]
mod otlp;
#[path = "../../zibrato-prometheus/src/remote_write/verdict.rs"]
mod remote_write;
mod payload {
    /// As much as the verdict looks at.
    pub(crate) struct Entry {
        pub(crate) name: String,
    }
}

use libfuzzer_sys::fuzz_target;
use payload::Entry;
use zibrato_http::{Answer, HeaderMap, HeaderValue, LONGEST_WAIT, Secret};

fuzz_target!(|bytes: &[u8]| {
    let [high, low, length, rest @ ..] = bytes else { return };
    let status = 100 + (u16::from(*high) << 8 | u16::from(*low)) % 500;
    let (retry_after, rest) = rest.split_at(rest.len().min(usize::from(*length % 40)));
    let [length, rest @ ..] = rest else { return };
    let (date, body) = rest.split_at(rest.len().min(usize::from(*length % 40)));
    let mut headers = HeaderMap::new();
    for (name, value) in [("retry-after", retry_after), ("date", date)] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let answer = Answer::new(status, headers, String::from_utf8_lossy(body).into_owned());
    assert!(answer.wait.is_none_or(|wait| wait <= LONGEST_WAIT));
    answer.time();
    assert!(answer.said(&answer.body).chars().count() < 330);

    let message = influx::message(&answer);
    let verdict = influx::judge(&answer, &message, 3);
    influx::names(&message, "cpu");
    assert_eq!(verdict == influx::Verdict::Accepted, (200..300).contains(&status));

    otlp::judge(&answer);
    remote_write::judge(&answer);

    for documents in 0..3 {
        assert!(bulk::fates(&answer.body, documents).is_none_or(|fates| fates.len() == documents));
    }

    let entries = ["requests", "a.b", "size"].map(|name| Entry { name: name.into() });
    let entries: Vec<&Entry> = entries.iter().collect();
    if let librato::Verdict::Wrong { meant, .. } = librato::judge(&answer, &entries, &Secret) {
        assert!(meant.iter().all(|&index| index < entries.len()) && meant.is_sorted());
    }
});
