//! Lines of an old publisher, of any bytes, are read without a panic, and what was taken becomes sound frames.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zibrato_core::frame::{InstanceId, decode};
use zibrato_core::limits;

// The module itself, because the crate around it brings a database and a network library to instrument.
#[path = "../../zibrato-broker/src/legacy/mod.rs"]
#[allow(dead_code, unused_imports)]
mod legacy;

use legacy::{Gateway, parse};

fuzz_target!(|bytes: &[u8]| {
    let now = 1_767_323_045_000_000_000;
    let mut gateway = Gateway::new(InstanceId([1; 16]), "gateway".into());
    let mut taken = 0;
    for line in bytes.split(|&byte| byte == b'\n') {
        if let Ok(line) = parse(line) {
            assert!(limits::check_level(line.level).is_ok() && limits::check_name(line.name).is_ok());
            taken += u32::from(gateway.take(&line, now).is_ok());
        }
    }
    let sets = gateway.sets(now + 1, true);
    assert_eq!(sets.is_empty(), taken == 0);
    for frame in sets.iter().flat_map(|(_, frames)| frames) {
        let decoded = decode(frame).unwrap();
        assert_eq!(decoded.skipped, []);
        assert!(!decoded.frame.rows.is_empty());
    }
});
