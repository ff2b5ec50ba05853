//! Every case there is: one file for each library.

mod cadence;
mod clocks;
mod fast_telemetry;
mod fastmetrics;
mod fastrace;
pub(crate) mod floors;
mod hotpath;
pub(crate) mod metrics;
mod metriken;
mod nm;
pub(crate) mod opentelemetry;
pub(crate) mod prometheus;
mod prometheus_client;
mod tracing;
pub(crate) mod zibrato;

use crate::case::Case;

/// All cases, their libraries set up.
pub(crate) fn all() -> Vec<Case> {
    let libraries: [fn() -> Vec<Case>; 15] = [
        floors::cases,
        zibrato::cases,
        metrics::cases,
        prometheus::cases,
        prometheus_client::cases,
        opentelemetry::cases,
        cadence::cases,
        fastrace::cases,
        tracing::cases,
        fastmetrics::cases,
        metriken::cases,
        fast_telemetry::cases,
        nm::cases,
        hotpath::cases,
        clocks::cases,
    ];
    libraries.iter().flat_map(|cases| cases()).collect()
}
