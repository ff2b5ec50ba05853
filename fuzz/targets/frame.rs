//! A frame of any bytes is decoded without a panic, and what was understood of it survives another way.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zibrato_core::frame::{Flags, decode, decode_head, encode_set};
use zibrato_core::limits;

fuzz_target!(|bytes: &[u8]| {
    let head = decode_head(bytes);
    let decoded = match decode(bytes) {
        Ok(decoded) => decoded,
        Err(why) => return assert_eq!(head, Err(why)),
    };
    let head = head.unwrap();
    let frame = decoded.frame;
    let lost = Flags(head.flags.0 & !frame.head.flags.0);
    assert_eq!(lost.0 & !(Flags::COMPLETE.0 | Flags::LAST.0), 0);
    if lost.0 > 0 {
        assert!(!decoded.skipped.is_empty(), "a whole frame loses no flag");
    }

    let mut rows = Vec::new();
    for part in encode_set(&head, &frame.rows, limits::FRAME) {
        let again = decode(&part).unwrap();
        assert_eq!(again.skipped, []);
        assert_eq!((again.frame.head.sequence, again.frame.head.instance), (head.sequence, head.instance));
        rows.extend(again.frame.rows);
    }
    assert_eq!(rows, frame.rows);

    for row in &rows {
        if let zibrato_core::frame::State::Spread(spread) = &row.state {
            let histogram = &spread.histogram;
            let quantiles = [0.0, 0.5, 0.99, 1.0].map(|q| histogram.quantile(q));
            assert!(quantiles.is_sorted_by(|a, b| a <= b));
            assert_eq!(quantiles[0].is_some(), histogram.count() > 0);
            assert_eq!(histogram.since(histogram).count(), 0);
        }
    }
});
