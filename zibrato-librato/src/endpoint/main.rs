//! `zibrato-librato-endpoint`: an endpoint in Librato's place, for trying things out by hand.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use zibrato_librato::endpoint::{Config, Endpoint, Script};

/// Takes what a Librato client sends, checks it against Librato's rules, and adds it up: see GET /totals,
/// GET /violations, and POST /script with steps as --script takes them.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:5595")]
    listen: SocketAddr,
    /// The user to let in.
    #[arg(long, default_value = "me@example.com")]
    username: String,
    /// The user's token; this program guards nothing, so it may be seen.
    #[arg(long, default_value = "tok")]
    token: String,
    /// How far back a measurement may lie, in seconds.
    #[arg(long, default_value_t = 7200)]
    oldest: u64,
    /// What to do with the first submissions: ok, STATUS, STATUS:SECONDS, limit:SECONDS, 400#ENTRY, lose, close,
    /// slow:SECONDS, each perhaps repeated as in 503*3, comma-separated.
    #[arg(long, default_value = "")]
    script: Script,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let config = Config {
        listen: options.listen,
        username: options.username,
        token: options.token,
        oldest: Duration::from_secs(options.oldest),
        ..Config::default()
    };
    match Endpoint::start(config) {
        Ok(endpoint) => {
            endpoint.script(options.script);
            println!("listening on {}", endpoint.url());
            endpoint.wait();
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("zibrato-librato-endpoint: failed to listen on {}: {why}", options.listen);
            ExitCode::FAILURE
        }
    }
}
