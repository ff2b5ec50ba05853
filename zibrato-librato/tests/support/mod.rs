//! Batches, backends and endpoints for the tests.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use zibrato_librato::endpoint::{Config, Endpoint};
use zibrato_librato::{Librato, Options, Token};
pub use zibrato_worker::testing::*;
use zibrato_worker::{Batch, Kind, Measurement, Series};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

pub const USER: &str = "me@example.com";
pub const TOKEN: &str = "tok";

pub fn options(arguments: &[&str]) -> Options {
    Cli::parse_from(["test"].iter().chain(arguments)).options
}

pub fn endpoint() -> Endpoint {
    Endpoint::start(Config::default()).unwrap()
}

pub fn backend(endpoint: &Endpoint, more: &[&str]) -> Librato {
    let url = endpoint.url();
    let mut arguments = vec!["--url", &url, "--username", USER];
    arguments.extend(more);
    Librato::with_token(options(&arguments), Duration::from_secs(10), Token::new(TOKEN))
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub fn series(name: &str, source: &str, kind: Kind) -> Series {
    Series { name: name.into(), source: source.into(), tags: Vec::new(), kind }
}

pub fn batch(seconds: u64, measurements: Vec<Measurement>) -> Batch {
    let time = seconds * 1_000_000_000;
    Batch { id: seconds, from: time - 10_000_000_000, time, measurements }
}
