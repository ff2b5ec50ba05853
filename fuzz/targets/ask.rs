//! A message of the ask socket of any parts is decoded without a panic, and comes back when encoded.
//!
//! The input is the parts one after the other, each after its length in two bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zibrato_core::ask::Message;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let [high, low, tail @ ..] = rest {
        let (part, tail) = tail.split_at(tail.len().min(usize::from(*high) << 8 | usize::from(*low)));
        parts.push(part);
        rest = tail;
    }
    if let Ok(message) = Message::decode(&parts) {
        assert_eq!(Message::decode(&message.encode()), Ok(message));
    }
});
