//! A file of spilled totals, of any bytes, is read without a panic; what was read comes back when written, and a file in
//! which a byte was changed is none.
//!
//! The input is a file with or without its checksum.
#![no_main]
#![allow(dead_code, missing_docs)]

#[path = "../../zibrato/src/publish/spill/records.rs"]
mod records;

use libfuzzer_sys::fuzz_target;
use zibrato_core::frame::{Frame, encode_head, encode_row};

fuzz_target!(|bytes: &[u8]| {
    for summed in [bytes.to_vec(), [bytes, &crc32fast::hash(bytes).to_be_bytes()].concat()] {
        run(&summed);
    }
});

fn run(bytes: &[u8]) {
    let Some(contents) = records::read(bytes) else { return };
    let sets = contents.sets.iter();
    let all = sets.flat_map(|((_, level, _), frames)| frames.iter().map(move |f| (&**level, bytes_of(f))));
    let mut written = records::written(contents.moment.as_ref(), all);
    assert_eq!(records::read(&written), Some(contents));
    let at = bytes.len() % written.len();
    written[at] ^= 0x20;
    assert_eq!(records::read(&written), None);
}

fn bytes_of(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_head(&mut bytes, &frame.head, frame.rows.len());
    frame.rows.iter().for_each(|row| encode_row(&mut bytes, row, &frame.head.source));
    bytes
}
