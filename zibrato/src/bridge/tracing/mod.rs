//! A layer for [`tracing`](https://docs.rs/tracing): it times the spans of the program, whatever library they are in,
//! and counts its events, if wanted.
//!
//! ```
//! use tracing_subscriber::prelude::*;
//! use zibrato::bridge::tracing::layer;
//! use zibrato::testing::capture;
//!
//! let spans = layer().level("sqlx::*", "debug").tag_field("route").build()?;
//! let subscriber = tracing_subscriber::registry().with(spans);
//! let ((), captured) = capture(|| {
//!     tracing::subscriber::with_default(subscriber, || {
//!         tracing::info_span!(target: "web", "request", route = "/users").in_scope(|| {
//!             tracing::info_span!(target: "sqlx::query", "execute").in_scope(|| ());
//!         });
//!     });
//! });
//! assert_eq!(captured.with_tag("route", "/users").recorded("web::request"), 1);
//! assert_eq!(captured.at_level("debug").recorded("sqlx::query::execute"), 1);
//! # Ok::<(), zibrato::bridge::BridgeError>(())
//! ```
//!
//! A span's timer is called `target::name`, and has the level of the span's own level: `trace`, `debug`, `info`, `warn`
//! or `error`, unless a rule says otherwise. A span is recorded once, when it closes, which is when the last handle to
//! it has gone, on whatever thread. Spans that are still open when the subscriber goes are not recorded.
//!
//! # What it costs
//!
//! Spans below the maximum level, `info` unless set, and those that a rule ignores are not wanted: where no other layer
//! wants them either, they are never made, and their call sites cost a load and a branch. A wanted span costs
//! two readings of the clock and an entry among the registry's extensions. How often it is entered, as the span of a
//! future is at every poll, costs nothing with [`Timed::Life`], or next to nothing: the filter looks the span up to know
//! whether it is wanted. A layer that is [built without the filter](Builder::build_unfiltered) does not do that either.

mod builder;
mod fields;
mod layer;
mod sites;
mod timing;

pub use builder::{Builder, layer};
pub use layer::{SpanFilter, SpanLayer};
pub use timing::Timed;
