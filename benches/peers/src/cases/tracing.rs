//! `tracing`: spans through the registry and a layer that does nothing, and a span that is switched off.

use ::tracing::{info_span, level_filters::LevelFilter, subscriber::set_global_default, trace_span};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

use crate::case::{Case, Group};
use crate::sites;

struct Idle;

impl Layer<Registry> for Idle {
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }
}

pub(crate) fn cases() -> Vec<Case> {
    if let Err(why) = set_global_default(Registry::default().with(Idle)) {
        eprintln!("failed to set `tracing` up: {why}");
    }
    vec![
        Case::peer(
            Group::Timers,
            "`tracing` span, through a layer that times nothing",
            sites!(|_| drop(info_span!("a").entered()), drop(info_span!("b").entered())),
        )
        .some(|| u64::from(!info_span!("probe").is_disabled())),
        Case::peer(
            Group::Timers,
            "`tracing` span, level off",
            sites!(|_| drop(trace_span!("a").entered()), drop(trace_span!("b").entered())),
        )
        .some(|| u64::from(trace_span!("probe").is_disabled())),
    ]
}
