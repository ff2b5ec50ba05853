//! A trace line of any text is read without a panic, and what was read of JSON comes back when written.
//!
//! The worker's sources are taken in one by one, because all that it needs to send would be compiled with the fuzzer's
//! instrumentation.
#![no_main]
#![allow(dead_code, missing_docs)]

#[path = "../../zibrato-mtrace/src/json.rs"]
mod json;
#[path = "../../zibrato-mtrace/src/line.rs"]
mod line;
#[path = "../../zibrato-mtrace/src/parse/mod.rs"]
mod parse;
#[path = "../../zibrato-mtrace/src/text.rs"]
mod text;

use libfuzzer_sys::fuzz_target;
pub use line::Line;

use crate::parse::{Parsed, parse};

#[derive(Clone, Copy)]
pub enum Format {
    Json,
    Text,
}

fuzz_target!(|text: &str| {
    let Ok(Parsed::Line(line)) = parse(text) else { return };
    assert_eq!(parse(&line.written(Format::Json)), Ok(Parsed::Line(line.clone())));
    let _ = parse(&line.written(Format::Text));
});
