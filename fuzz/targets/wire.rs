//! Bytes on the broker's wire, subscriptions, beats and addresses are read without a panic: messages split into what
//! they are joined from, whatever arrives in pieces is the same, and nothing is beyond its limit.
#![no_main]
#![allow(dead_code, missing_docs)]

// The modules themselves, because the crates around them bring network libraries to instrument.
#[path = "../../zibrato-transport/src/beat.rs"]
mod beat;
#[path = "../../zibrato-broker/src/net/split.rs"]
mod split;
#[path = "../../zibrato-broker/src/net/subscriptions.rs"]
mod subscriptions;

use libfuzzer_sys::fuzz_target;
use split::{Item, Split, WireLimits, join};
use subscriptions::{SubscriptionLimits, Subscriptions};

const LIMITS: WireLimits = WireLimits { message: 4096, parts: 8 };

fuzz_target!(|bytes: &[u8]| {
    let mut split = Split::default();
    let whole = split.split(bytes, LIMITS);
    let mut last = 0;
    let mut topics = Vec::new();
    for item in &split.items {
        match item {
            Item::Command(body) => assert!(!body.is_empty() && body.end <= bytes.len()),
            Item::Message { wire, parts, is_mixed } => {
                assert!(wire.start >= last && wire.end <= bytes.len());
                last = wire.end;
                let parts: Vec<&[u8]> =
                    split.parts[parts.clone()].iter().map(|part| &bytes[part.clone()]).collect();
                assert!(!parts.is_empty() && parts.len() <= LIMITS.parts);
                assert!(parts.iter().map(|part| part.len() + 64).sum::<usize>() <= LIMITS.message);
                let mut joined = Vec::new();
                join(&mut joined, parts.iter().copied());
                let mut again = Split::default();
                assert!(again.split(&joined, LIMITS).is_ok_and(|rest| rest.known == 0));
                let back: Vec<&[u8]> = again.parts.iter().map(|part| &joined[part.clone()]).collect();
                assert_eq!(back, parts);
                assert!(*is_mixed || joined.len() <= wire.len());
                topics.push(parts[0].to_vec());
            }
        }
    }
    if let Ok(rest) = whole {
        assert!(rest.from <= bytes.len() && (rest.known > 0 || rest.from == bytes.len()));
        // What is left is all that is needed, together with what comes next.
        let mut left = Split::default();
        let again = left.split(&bytes[rest.from..], LIMITS).unwrap();
        assert_eq!((again.from, again.known), (0, rest.known));
    }

    let mut sealed = Split::default();
    let rest = sealed.split_sealed(bytes, LIMITS);
    let mut end = 0;
    for (item, part) in sealed.items.iter().zip(&sealed.parts) {
        let Item::Message { wire, .. } = item else { panic!("a frame is told as something else") };
        assert!(wire.start == end && part.end == wire.end && part.start > wire.start);
        end = wire.end;
    }
    assert!(
        rest.is_err() || rest.is_ok_and(|rest| rest.from == end && (rest.known > 0) == (end < bytes.len()))
    );
    let mut at = 0;
    while let Some((body, _)) = split::part(bytes, at) {
        assert!(body.start > at && body.end <= bytes.len());
        at = body.end;
    }

    let limits = SubscriptionLimits { count: 16, length: 32 };
    let mut subscriptions = Subscriptions::default();
    let mut taken = Vec::new();
    for topic in &topics {
        let prefix = &topic[..topic.len().min(40)];
        if subscriptions.add(prefix, limits).is_ok() {
            assert!(subscriptions.matches(topic));
            taken.push(prefix);
        }
    }
    for prefix in taken {
        assert!(subscriptions.matches(prefix));
        subscriptions.remove(prefix);
    }
    assert!(topics.iter().all(|topic| !subscriptions.matches(topic)));

    let _ = beat::boot(bytes);
});
