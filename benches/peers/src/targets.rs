//! What it must reach, and what was measured.

use crate::case::{Case, Group, Side};
use crate::cases::{floors, metrics, opentelemetry, prometheus, zibrato};
use crate::child::Measured;
use crate::round::{Costs, Results};
use crate::table::figure;

/// One target of a row: at most so much.
struct Target {
    row: u8,
    what: String,
    limit: f64,
    unit: &'static str,
    measured: Option<f64>,
}

/// Prints every target that times and memory can show. Ratios are of minima for one thread and of medians for two;
/// medians too where two threads are compared with one.
pub(crate) fn print(cases: &[Case], results: &Results, measured: &Measured) {
    println!("### Targets\n");
    println!("| row | | target | measured | |\n|---|---|---|---|---|");
    let mut targets: Vec<Target> = ratios(cases, results).into_iter().chain(measurements(measured)).collect();
    targets.sort_by_key(|target| target.row);
    for Target { row, what, limit, unit, measured } in targets {
        let limit_text = format!("≤ {}{unit}", plain(limit));
        let (value, verdict) = match measured {
            Some(value) if value <= limit => (format!("{}{unit}", fine(value)), "met"),
            Some(value) => (format!("{}{unit}", fine(value)), "**missed**"),
            None => ("not measured".into(), "–"),
        };
        println!("| {row} | {what} | {limit_text} | {value} | {verdict} |");
    }
    println!();
}

/// Fine enough to tell a target that is just missed from one that is met.
fn fine(measured: f64) -> String {
    if measured.abs() < 10.0 { format!("{measured:.3}") } else { figure(measured) }
}

/// As it was written, not as it was measured.
fn plain(limit: f64) -> String {
    if limit.fract() == 0.0 { format!("{limit:.0}") } else { format!("{limit:.2}") }
}

/// Which figure of a case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pick {
    One,
    Two,
}

impl Pick {
    fn of(self, costs: &Costs) -> f64 {
        match self {
            Pick::One => costs.one.min,
            Pick::Two => costs.same.median,
        }
    }
}

fn ratios(cases: &[Case], results: &Results) -> Vec<Target> {
    let of = |name: &str, pick: Pick| results.get(name).map(|costs| pick.of(costs));
    let ratio = |row, name: &str, other: &str, pick: Pick, limit: f64| Target {
        row,
        what: format!("{name}, to {other}{}", if pick == Pick::Two { "; two threads on one" } else { "" }),
        limit,
        unit: " ×",
        measured: of(name, pick).zip(of(other, pick)).map(|(a, b)| a / b),
    };
    let two_to_one = |row, name: &str, limit| Target {
        row,
        what: format!("{name}: two threads on one metric to one thread"),
        limit,
        unit: " ×",
        measured: results.get(name).map(|c| c.same.median / c.one.median),
    };
    // The best peer of a kind, of those that do the same as the case.
    let best = |like: &dyn Fn(&Case) -> bool, pick: Pick| {
        let peers = cases.iter().filter(|c| c.side == Side::Peer && like(c));
        peers.min_by(|a, b| {
            let cost = |c: &Case| of(c.name, pick).unwrap_or(f64::INFINITY);
            cost(a).total_cmp(&cost(b))
        })
    };
    let counters = Group::Counters;
    let sharded = best(&|c| c.group == counters && c.is_sharded && !c.needs_flush, Pick::Two);
    let distribution = best(&|c| c.is_distribution, Pick::One);
    let (count, time) = (zibrato::COUNT_ME, zibrato::TIME_ME);
    let metrics_timer = Group::Timers.reference();
    let mut targets = vec![
        ratio(1, count, counters.reference(), Pick::One, 0.10),
        ratio(1, count, prometheus::COUNTER, Pick::One, 0.20),
        ratio(2, count, counters.reference(), Pick::Two, 0.02),
        ratio(2, count, prometheus::COUNTER, Pick::Two, 0.05),
    ];
    targets.extend(sharded.map(|peer| ratio(2, count, peer.name, Pick::Two, 0.25)));
    targets.extend([
        two_to_one(2, count, 1.2),
        // 1.15 for cheaper buckets than those of OTLP, which these are.
        ratio(3, time, floors::TWO_TICKS, Pick::One, 1.20),
        ratio(3, time, floors::TWO_INSTANTS, Pick::One, 0.60),
    ]);
    targets.extend(distribution.map(|peer| ratio(3, time, peer.name, Pick::One, 0.60)));
    targets.extend([
        two_to_one(4, time, 1.05),
        ratio(4, time, prometheus::TIMER, Pick::Two, 0.15),
        ratio(4, time, opentelemetry::BOUND_TIMER, Pick::Two, 0.15),
        ratio(4, time, metrics_timer, Pick::Two, 0.15),
    ]);
    targets.push(ratio(5, zibrato::SAMPLED, floors::TWO_TICKS, Pick::One, 0.15));
    targets.extend([
        ratio(8, zibrato::GAUGE, floors::STORE, Pick::One, 1.05),
        ratio(8, zibrato::GAUGE_HANDLE, floors::STORE, Pick::One, 1.05),
        ratio(8, zibrato::GAUGE, floors::STORE, Pick::Two, 1.05),
    ]);
    let names = Group::RuntimeNames;
    targets.extend([
        ratio(12, zibrato::HANDLE, names.reference(), Pick::One, 0.25),
        ratio(12, zibrato::LOOKUP, metrics::LOOKUP, Pick::One, 1.0),
        ratio(12, zibrato::LOOKUP, metrics::LOOKUP, Pick::Two, 1.0),
        ratio(12, zibrato::LOOKUP, metrics::LOOKUP_OWNED, Pick::One, 1.0),
    ]);
    targets
}

fn measurements(measured: &Measured) -> impl Iterator<Item = Target> {
    let target = |row, key: &str, what: &str, limit, unit| Target {
        row,
        what: what.into(),
        limit,
        unit,
        measured: measured.get(key),
    };
    [
        target(11, "sites.slope", "reading, for each thread more and each call site", 2.0, " ns"),
        target(11, "handles.slope", "reading, for each thread more and each handle", 2.0, " ns"),
        target(11, "writer.slowed", "a counting thread slowed by a reader every millisecond", 2.0, " %"),
        target(
            11,
            "snapshot.median",
            "10,000 metrics × 8 threads, all changed: snapshot and encoding, CPU",
            10.0,
            " ms",
        ),
        target(13, "idle.absent", "idle publisher, no broker, of a core", 0.1, " %"),
        target(13, "idle.present", "idle publisher with a broker, of a core", 0.1, " %"),
        target(13, "memory.site", "memory for each counter and thread, call site", 64.0, " B"),
        target(13, "memory.handle", "memory for each counter and thread, handle", 64.0, " B"),
        target(13, "memory.timer", "memory for each typical timer and thread", 4096.0, " B"),
    ]
    .into_iter()
}
