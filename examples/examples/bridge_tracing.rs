//! A program whose spans are those of `tracing`, and are timed by Zibrato.
//!
//! Start a broker and watch what passes, each in a terminal of its own:
//!
//!     cargo run -p zibrato-cli -- broker
//!     cargo run -p zibrato-cli -- tail
//!
//! and then, with the number of requests (100 if not given):
//!
//!     cargo run -p zibrato-examples --example bridge_tracing -- 500

use std::time::Duration;

use tracing::{Level, info, info_span, instrument, warn};
use tracing_subscriber::prelude::*;
use zibrato::bridge::tracing::layer;

#[instrument(level = "debug", skip_all)]
async fn look_up(id: usize) -> Option<String> {
    tokio::time::sleep(Duration::from_millis(1)).await;
    (id % 10 != 7).then(|| format!("user {id}"))
}

/// The route becomes a tag, and so does the status, which is known only in the end.
#[instrument(skip(id), fields(status = tracing::field::Empty))]
async fn request(route: &str, id: usize) {
    let status = match look_up(id).await {
        Some(user) => {
            let _rendering = info_span!("render").entered();
            info!(length = user.len(), "found");
            200
        }
        None => {
            warn!(id, "nobody there");
            404
        }
    };
    tracing::Span::current().record("status", status);
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Keep the guard: when it is dropped, at the end of main, the last totals are delivered.
    let _zibrato = zibrato::install()?;
    let spans = layer()
        .max_level(Level::DEBUG)
        .ignore("tokio::*")
        .tag_field("route")
        .tag_field("status")
        .count_events()
        .build()?;
    // Beside it the layers that there are anyway: here one that prints errors.
    let printed = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_filter(tracing_subscriber::filter::LevelFilter::ERROR);
    tracing_subscriber::registry().with(spans).with(printed).try_init()?;

    let requests: usize = std::env::args().nth(1).map_or(Ok(100), |number| number.parse())?;
    let all: Vec<_> = (0..requests)
        .map(|id| tokio::spawn(request(if id % 3 == 0 { "/users" } else { "/items" }, id)))
        .collect();
    for one in all {
        one.await?;
    }
    println!("{requests} requests answered");
    Ok(())
}
