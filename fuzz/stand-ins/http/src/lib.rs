//! What a service answers, without the client around it, which would be compiled with the fuzzer's instrumentation.
#![allow(dead_code, missing_docs)]

#[path = "../../../../zibrato-http/src/answer.rs"]
mod answer;
#[path = "../../../../zibrato-http/src/header.rs"]
mod header;

pub use answer::{Answer, LONGEST_WAIT};
pub use header::{Header, secret_headers};
pub use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

/// Stands in for what is hidden in texts.
pub struct Secret;

impl Secret {
    pub fn hide_in(&self, text: &str) -> String {
        text.into()
    }
}
