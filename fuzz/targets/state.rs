//! Rows of a worker's state, of any bytes, are read without a panic, and what was read comes back when written.
#![no_main]
#![allow(dead_code, missing_docs)]

#[path = "../../zibrato-worker/src/batch.rs"]
mod batch;
#[path = "../../zibrato-worker/src/state/codec.rs"]
mod codec;
#[path = "../../zibrato-worker/src/state/trace.rs"]
mod trace;

use libfuzzer_sys::fuzz_target;

fn run(bytes: &[u8]) {
    if let Some(key) = codec::decode_key(bytes) {
        assert_eq!(codec::decode_key(&codec::encode_key(&key)), Some(key));
    }
    if let Some(numbers) = codec::decode_numbers(bytes) {
        let again = codec::decode_numbers(&codec::encode_numbers(&numbers));
        assert!(again.is_some_and(|again| again.ranges() == numbers.ranges()));
    }
    if let Ok(measurements) = codec::decode_measurements(bytes) {
        let written = codec::encode_measurements(&measurements).unwrap();
        let again = codec::decode_measurements(&written).unwrap();
        // Not a number is no number, but the same bytes.
        assert_eq!(codec::encode_measurements(&again).unwrap(), written);
        for measurement in &measurements {
            codec::encode_series(&measurement.series);
            measurement.statistics();
        }
    }
}

fuzz_target!(|bytes: &[u8]| run(bytes));
