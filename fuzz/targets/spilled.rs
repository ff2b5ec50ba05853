//! A file of spilled totals, of any bytes, is read without a panic; what was read comes back when written, and a file in
//! which a byte was changed is none.
//!
//! The input is a file of the first version, which is what the second has between its first line and its checksum.
#![no_main]
#![allow(dead_code, missing_docs)]

#[path = "../../zibrato/src/publish/spill/records.rs"]
mod records;

use libfuzzer_sys::fuzz_target;
use zibrato_core::frame::{Frame, encode_head, encode_row};

fuzz_target!(|bytes: &[u8]| {
    let Some(sets) = records::sets(bytes) else { return };
    let level = |name: &str| name.to_owned();
    let all = sets.iter().flat_map(|((_, name, _), frames)| frames.iter().map(move |f| (level(name), bytes_of(f))));
    let all: Vec<_> = all.collect();
    let mut written = records::written(all.iter().map(|(level, frame)| (&**level, frame.clone())));
    assert_eq!(records::sets(&written).as_ref(), Some(&sets));
    let at = bytes.len() % written.len();
    written[at] ^= 0x20;
    assert_eq!(records::sets(&written), None);
});

fn bytes_of(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_head(&mut bytes, &frame.head, frame.rows.len());
    frame.rows.iter().for_each(|row| encode_row(&mut bytes, row, &frame.head.source));
    bytes
}
