//! A list of levels and a topic of any bytes are read without a panic, and come back when written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zibrato_core::level::{Levels, of_topic, topic};

fuzz_target!(|bytes: &[u8]| {
    if let Some(level) = of_topic(bytes) {
        assert_eq!(topic(level).as_bytes(), bytes);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(levels) = text.parse::<Levels>() else { return };
    let again: Levels = levels.to_string().parse().unwrap();
    for level in text.split([',', '!', '*']).map(str::trim).chain(["info", "x"]) {
        assert_eq!(again.contains(level), levels.contains(level), "{levels} {level:?}");
    }
    assert!(levels.topics().iter().all(|t| t.is_empty() || of_topic(t.as_bytes()).is_some()));
});
