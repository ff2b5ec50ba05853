//! What the layer does not want is never made. In a program of its own: where several subscribers differ about a call
//! site, `tracing` asks each time, and makes the span for whichever has layers at all.
#![cfg(all(feature = "enable", feature = "tracing"))]

use tracing::subscriber::with_default;
use tracing::{Level, debug_span, info_span};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;
use zibrato::bridge::tracing::layer;

#[test]
fn spans_that_nobody_wants_are_never_made() {
    let subscriber = tracing_subscriber::registry().with(layer().ignore("noisy").build().unwrap());
    with_default(subscriber, || {
        assert!(info_span!(target: "calm", "span").id().is_some());
        assert!(info_span!(target: "noisy", "span").id().is_none());
        assert!(debug_span!(target: "calm", "span").id().is_none());
        assert!(!tracing::enabled!(target: "calm", Level::ERROR), "events are not counted here");
        assert_eq!(LevelFilter::current(), LevelFilter::INFO);
    });
}
