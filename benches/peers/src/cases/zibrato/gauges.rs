use super::recorded;
use crate::case::{Case, Group, on_handles};
use crate::sites;

pub(crate) const GAUGE: &str = "`gauge!`";
pub(crate) const GAUGE_HANDLE: &str = "kept handle, gauge";

pub(super) fn cases() -> Vec<Case> {
    let plain = |name| zibrato::gauge(name).handle();
    let with_statistics = |name| zibrato::gauge(name).with_statistics().handle();
    vec![
        Case::zibrato(
            Group::Gauges,
            GAUGE,
            sites!(|i| zibrato::gauge!("gauge.a", i as f64), zibrato::gauge!("gauge.b", i as f64)),
        )
        .some(recorded(["gauge.a", "gauge.b"])),
        Case::zibrato(
            Group::Gauges,
            GAUGE_HANDLE,
            on_handles(["gauge_handle.a", "gauge_handle.b"].map(plain), |gauge, i| gauge.set(i as f64)),
        )
        .some(recorded(["gauge_handle.a", "gauge_handle.b"])),
        Case::zibrato(
            Group::Gauges,
            "kept handle with statistics (count, sum, min, max)",
            on_handles(["statistics.a", "statistics.b"].map(with_statistics), |gauge, i| gauge.set(i as f64)),
        )
        .exact(recorded(["statistics.a", "statistics.b"])),
    ]
}
