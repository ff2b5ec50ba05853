//! `hotpath`: each thread appends every duration to a queue that a thread of the library drains.

use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

use ::hotpath::{Format, HotpathGuard, HotpathGuardBuilder};

use crate::case::{Case, Group};
use crate::sites;

// Not literals: those become symbols of their own names.
const BLOCK_A: &str = "block_a";
const BLOCK_B: &str = "block_b";

static GUARD: Mutex<Option<HotpathGuard>> = Mutex::new(None);

/// Where the report goes that the library writes once, when its guard is dropped.
fn path() -> PathBuf {
    std::env::temp_dir().join(format!("zibrato-peers-hotpath-{}.json", std::process::id()))
}

/// The numbers in `field` of the report's objects that are called so, together.
fn reported(key: &'static str, field: &'static str, names: [&'static str; 2]) -> impl Fn() -> u64 {
    static REPORT: OnceLock<String> = OnceLock::new();
    move || {
        let report = REPORT.get_or_init(|| {
            drop(GUARD.lock().ok().and_then(|mut guard| guard.take()));
            let text = std::fs::read_to_string(path()).unwrap_or_default();
            let _ = std::fs::remove_file(path());
            text
        });
        let objects =
            report.split('{').filter(|o| names.iter().any(|n| o.contains(&format!("\"{key}\":\"{n}\""))));
        let numbers = objects.filter_map(|object| {
            let (_, rest) = object.split_once(&format!("\"{field}\":"))?;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
        });
        numbers.sum()
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let builder = HotpathGuardBuilder::new("bench").format(Format::Json).output_path(path());
    if let Ok(mut guard) = GUARD.lock() {
        *guard = Some(builder.build());
    }
    vec![
        Case::peer(
            Group::Timers,
            "`hotpath` measure_block",
            sites!(|_| ::hotpath::measure_block!(BLOCK_A, {}), ::hotpath::measure_block!(BLOCK_B, {})),
        )
        .exact(reported("name", "calls", ["block_a", "block_b"]))
        .with_thread()
        .distribution(),
        Case::peer(
            Group::Gauges,
            "`hotpath` gauge!",
            sites!(
                |i| {
                    ::hotpath::gauge!("gauge_a").set(i as f64);
                },
                {
                    ::hotpath::gauge!("gauge_b").set(i as f64);
                }
            ),
        )
        .exact(reported("expression", "log_count", ["gauge_a", "gauge_b"]))
        .with_thread(),
    ]
}
