//! `metrics` with the Prometheus recorder, which is installed before the first handle is taken: one taken earlier
//! does nothing at all.

use std::sync::OnceLock;
use std::time::Instant;

use ::metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::case::{Case, Group, on_handles, repeat};
use crate::sites;

pub(crate) const LOOKUP: &str = "`metrics` macro, with a constant label";
pub(crate) const LOOKUP_OWNED: &str = "`metrics` macro, with a label of a run-time value";

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

pub(crate) fn cases() -> Vec<Case> {
    match PrometheusBuilder::new().install_recorder() {
        Ok(recorder) => drop(RECORDER.set(recorder)),
        Err(why) => eprintln!("failed to install the recorder of `metrics`: {why}"),
    }
    let label = String::from("v");
    vec![
        Case::peer(
            Group::Counters,
            Group::Counters.reference(),
            on_handles([counter!("handle_a"), counter!("handle_b")], |c, _| c.increment(1)),
        )
        .exact(rendered("handle_")),
        Case::peer(
            Group::Counters,
            "`metrics` macro",
            sites!(|_| counter!("macro_a").increment(1), counter!("macro_b").increment(1)),
        )
        .exact(rendered("macro_")),
        Case::peer(
            Group::Timers,
            Group::Timers.reference(),
            on_handles([histogram!("timer_a"), histogram!("timer_b")], |h, _| {
                let start = Instant::now();
                h.record(start.elapsed());
            }),
        )
        .exact(rendered("timer_"))
        .distribution(),
        Case::peer(
            Group::Timers,
            "`metrics` macro, timer",
            sites!(
                |_| {
                    let start = Instant::now();
                    histogram!("timer_macro_a").record(start.elapsed());
                },
                {
                    let start = Instant::now();
                    histogram!("timer_macro_b").record(start.elapsed());
                }
            ),
        )
        .exact(rendered("timer_macro_"))
        .distribution(),
        Case::peer(
            Group::Gauges,
            Group::Gauges.reference(),
            on_handles([gauge!("gauge_a"), gauge!("gauge_b")], |g, i| g.set(i as f64)),
        )
        .some(rendered("gauge_")),
        Case::peer(
            Group::Gauges,
            "`metrics` macro, gauge",
            sites!(|i| gauge!("gauge_macro_a").set(i as f64), gauge!("gauge_macro_b").set(i as f64)),
        )
        .some(rendered("gauge_macro_")),
        Case::peer(
            Group::RuntimeNames,
            Group::RuntimeNames.reference(),
            on_handles([counter!("label_a", "k" => "v"), counter!("label_b", "k" => "v")], |c, _| {
                c.increment(1);
            }),
        )
        .exact(rendered("label_")),
        Case::peer(
            Group::RuntimeNames,
            LOOKUP,
            sites!(
                |_| counter!("constant_a", "k" => "v").increment(1),
                counter!("constant_b", "k" => "v").increment(1)
            ),
        )
        .exact(rendered("constant_")),
        Case::peer(Group::RuntimeNames, LOOKUP_OWNED, move |metric, n| {
            let label = label.as_str();
            if metric == 0 {
                repeat(n, |_| counter!("owned_a", "k" => label.to_string()).increment(1));
            } else {
                repeat(n, |_| counter!("owned_b", "k" => label.to_string()).increment(1));
            }
        })
        .exact(rendered("owned_")),
    ]
}

/// What the recorder shows of the metrics `…a` and `…b`, a histogram's count if they are that.
fn rendered(prefix: &'static str) -> impl Fn() -> u64 {
    move || {
        let text = RECORDER.get().map(PrometheusHandle::render).unwrap_or_default();
        let names = ["a", "b"].map(|end| format!("{prefix}{end}"));
        let counts = names.clone().map(|name| format!("{name}_count"));
        let values = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let name = series.split('{').next().unwrap_or(series);
            (names.iter().any(|n| n == name) && !series.contains("quantile")
                || counts.iter().any(|n| n == name))
            .then(|| value.parse::<f64>().map_or(0, |v| v as u64))
        });
        values.sum()
    }
}
