//! After a file of lines, with any bytes in it, was appended to, the text is at its end once and whole, however often it
//! is repeated, and what others wrote is still before it.
//!
//! The input is what is in the file, a zero, and the text without its last end of line.
#![no_main]
#![allow(dead_code, missing_docs)]

#[path = "../../zibrato-worker/src/line_file.rs"]
mod line_file;

use libfuzzer_sys::fuzz_target;
use line_file::LineFile;

fuzz_target!(|bytes: &[u8]| {
    let Some(at) = bytes.iter().position(|&byte| byte == 0) else { return };
    let (before, Ok(text)) = (&bytes[..at], std::str::from_utf8(&bytes[at + 1..])) else { return };
    let text = text.replace('\0', "0") + "\n";
    let path = std::path::Path::new("/dev/shm").join(format!("zibrato-fuzz-lines-{}", std::process::id()));
    let file = LineFile { path: path.clone(), most: None, keep: 0 };
    std::fs::write(&path, before).unwrap();
    file.append(&text).unwrap();
    let once = std::fs::read(&path).unwrap();
    assert!(once.ends_with(text.as_bytes()));
    file.append(&text).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), once, "it is there once");
    assert!(once.len() <= before.len() + 1 + text.len() && once.starts_with(before));
});
