//! Addresses of brokers, and what scrapers like, of any text, are read without a panic; addresses come back when written.
#![no_main]
#![allow(dead_code, missing_docs)]

#[path = "../../zibrato-transport/src/address.rs"]
mod address;
#[path = "../../zibrato-prometheus/src/exposition/negotiate.rs"]
mod negotiate;

use libfuzzer_sys::fuzz_target;

/// Stands in for what protects a connection, which an address has beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Security {
    #[default]
    Plain,
}

use zibrato_http::{Header, secret_headers};

fuzz_target!(|text: &str| {
    if let Ok(brokers) = address::parse_brokers(text) {
        let texts: Vec<String> = brokers.iter().map(ToString::to_string).collect();
        assert_eq!(address::parse_brokers(&texts.join(",")), Ok(brokers));
    }
    let format = negotiate::negotiate(text);
    assert!(!format.content_type().is_empty());
    negotiate::takes_gzip(text);
    let _ = text.parse::<Header>();
    let _ = secret_headers(text);
});
