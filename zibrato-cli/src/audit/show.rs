//! The report: for people, and as JSON.

use serde_json::{Value, json};
use zibrato_worker::{Amount, Snapshot};

use super::compare::{ByName, Found, Metric, Report, by_name, figure};
use super::workers::{Group, waiting};
use crate::number;
use crate::output::{BAD, DIM, GOOD, HEADING, styled};
use crate::table::{Column, Table};

/// Differences that are listed for each worker.
const LISTED: usize = 20;

/// A broker and what it told about itself.
pub(super) fn broker(name: &str, told: Option<&Value>) -> String {
    let heading = styled(HEADING, &format!("broker {name}"));
    let Some(told) = told else { return format!("{heading}  {}\n", styled(BAD, "does not answer")) };
    let count = |key: &str| number::count(told.get(key).and_then(Value::as_f64).unwrap_or(0.0));
    let (refused, missed) = (refused(told), gaps(told));
    let up = told.get("uptime_s").and_then(Value::as_f64).unwrap_or(0.0);
    let mut out = format!("{heading}  up {}\n", number::span(up));
    out += &format!(
        "  received {} frames, refused {}; {} sets were missed on the way to it\n",
        count("frames_in"),
        number::count(refused as f64),
        number::count(missed as f64)
    );
    out += &format!("  passed on {} frames, dropped {}\n", count("frames_out"), count("frames_dropped"));
    out += &format!(
        "  keeps {} programs; {} have ended, {} were let go for their age, {} for want of room\n",
        count("instances"),
        count("ended"),
        count("expired"),
        count("evicted")
    );
    out
}

/// Everything that a broker refused.
pub(super) fn refused(told: &Value) -> u64 {
    let counts = told.get("rejected").and_then(Value::as_object);
    counts.into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum()
}

/// The sets that a broker has missed, of programs it knows.
pub(super) fn gaps(told: &Value) -> u64 {
    let levels = told.get("levels").and_then(Value::as_object);
    levels.into_iter().flatten().filter_map(|(_, level)| level.get("gaps")?.as_u64()).sum()
}

/// A worker: what was sent, received, settled, accepted and refused, and what waits.
pub(super) fn worker(group: &Group, report: &Report, now: u64) -> String {
    let mut out = styled(HEADING, &format!("worker {}", group.name())) + "\n";
    let mut table = Table::new([
        Column::left("  HOP"),
        Column::right("METRICS"),
        Column::right("DATAPOINTS"),
        Column::right("COUNTED"),
        Column::right("VALUES"),
        Column::left("NOTE"),
    ]);
    let cumulative = group.snapshots.iter().any(|snapshot| snapshot.is_cumulative);
    let mut row = |hop: &str, metrics: Option<usize>, datapoints: bool, amount: Amount, note: String| {
        let count = |value: f64, shown: bool| if shown { number::count(value) } else { String::new() };
        // What is told as totals does not add up.
        let sums = !datapoints || !cumulative;
        table.row([
            format!("  {hop}"),
            metrics.map(|metrics| number::count(metrics as f64)).unwrap_or_default(),
            count(amount.datapoints as f64, datapoints),
            count(amount.counted.value(), sums),
            count(amount.values as f64, sums),
            note,
        ]);
    };
    let sum = |of: fn(&Metric) -> Amount| report.metrics.iter().map(of).sum::<Amount>();
    let settled = report.metrics.iter().filter(|metric| metric.settled != Amount::default()).count();
    row("sent", Some(report.metrics.len()), false, sum(|metric| metric.sent), "what brokers keep".into());
    row("settled", Some(settled), false, sum(|metric| metric.settled), state_of(report));
    let account = |of: fn(&Snapshot) -> Amount| group.sum(of);
    row("since it listens", None, false, account(|s| s.accounts.happened), "gauges and points, too".into());
    let left_out = account(|s| s.accounts.left_out);
    if !left_out.is_equal(Amount::default()) {
        row("left out", None, false, left_out, "by filters".into());
    }
    row("to be sent", None, true, account(|s| s.accounts.settled), String::new());
    row("accepted", None, true, account(|s| s.accounts.accepted), String::new());
    let letters = account(|s| s.accounts.refused);
    row(
        "refused",
        None,
        true,
        letters,
        if letters.datapoints > 0 { "see dead-letters.jsonl".into() } else { String::new() },
    );
    for (hop, amount, note) in [
        ("merged", account(|s| s.accounts.merged), "unsent periods were made one"),
        ("lost", account(|s| s.accounts.lost), "batches were damaged"),
    ] {
        if amount.datapoints > 0 {
            row(hop, None, true, amount, note.into());
        }
    }
    row("waiting", None, true, group.sum(waiting), backlog(group, now));
    out += &table.render(None);
    for live in &report.live {
        out += &format!("  {}\n", live.line(group.backend()));
    }
    if report.missed > 0 {
        let missed = number::count(report.missed as f64);
        out +=
            &format!("  {missed} sets never came: their totals are in later ones, but not the very time\n");
    }
    if report.alone > 0 {
        out += &format!("  {} programs are known to it alone: brokers have let them go\n", report.alone);
    }
    for (times, how) in
        group.snapshots.iter().map(|snapshot| &snapshot.damaged).filter(|damaged| damaged.0 > 0)
    {
        let how = how.as_deref().unwrap_or("?");
        out += &format!("  {} {how}\n", styled(BAD, &format!("damaged {times} times, the last time so:")));
    }
    for difference in report.differences.iter().take(LISTED) {
        let hop = styled(BAD, &format!("differs at {}:", difference.hop));
        out += &format!("  {hop} {}\n    {}\n", difference.what, difference.why);
    }
    if report.differences.len() > LISTED {
        let more = report.differences.len() - LISTED;
        out += &styled(DIM, &format!("  and {more} more: --differing lists them by metric\n"));
    }
    out
}

fn state_of(report: &Report) -> String {
    let counts = [
        (Found::Behind, "behind"),
        (Found::Differs, "different"),
        (Found::InFlight, "in flight"),
        (Found::Ahead, "newer than the broker's"),
        (Found::Unknown, "of another shard"),
    ];
    let parts = counts.iter().filter_map(|(found, word)| match report.count(*found) {
        0 => None,
        count => Some(format!("{} {word}", number::count(count as f64))),
    });
    let mut parts: Vec<String> = parts.collect();
    if parts.is_empty() {
        parts.push("equal".into());
    }
    let nothing = Amount::default();
    let zeros = report.metrics.iter().filter(|m| m.sent == nothing && m.settled == nothing).count();
    if zeros > 0 {
        parts.push(format!("{} still 0", number::count(zeros as f64)));
    }
    parts.join(", ")
}

fn backlog(group: &Group, now: u64) -> String {
    let batches = group.snapshots.iter().flat_map(|snapshot| &snapshot.batches);
    let Some(oldest) = batches.clone().min_by_key(|batch| batch.time) else { return String::new() };
    let age = number::span(now.saturating_sub(oldest.time) as f64 / 1e9);
    let tried = match oldest.attempts {
        0 => "not tried yet".into(),
        1 => "tried once".into(),
        times => format!("tried {times} times"),
    };
    match batches.count() {
        1 => format!("1 batch, of {age} ago, {tried}"),
        count => format!("{count} batches, the oldest of {age} ago, {tried}"),
    }
}

/// Metrics by name.
pub(super) fn metrics<'a>(group: &Group, metrics: impl Iterator<Item = &'a Metric>) -> String {
    let mut table = Table::new([
        Column::left("  METRIC"),
        Column::left("KIND"),
        Column::right("PROGRAMS"),
        Column::right("SENT"),
        Column::right("SETTLED"),
        Column::right("WAITING"),
        Column::left("STATE"),
    ]);
    for ((name, kind), of) in by_name(metrics) {
        let batches = group.snapshots.iter().flat_map(|snapshot| &snapshot.batches);
        let waits: Amount = batches.filter_map(|batch| batch.by_name.get(&name)).copied().sum();
        let ByName { sent, settled, instances, found, why } = of;
        let waits = match group.snapshots.iter().any(|snapshot| snapshot.is_cumulative) {
            true if waits.datapoints > 0 => format!("{} datapoints", waits.datapoints),
            true => "0".into(),
            false => figure(kind, waits),
        };
        table.row([
            format!("  {name}"),
            kind.name().into(),
            number::count(instances as f64),
            figure(kind, sent),
            figure(kind, settled),
            waits,
            if found == Some(Found::Equal) { "equal".into() } else { why },
        ]);
    }
    if table.is_empty() { styled(DIM, "  no such metric\n") } else { table.render(None) }
}

pub(super) fn verdict(text: &str, good: bool) -> String {
    styled(if good { GOOD } else { BAD }, text) + "\n"
}

fn amount(amount: Amount) -> Value {
    json!({
        "datapoints": amount.datapoints,
        "counted": amount.counted.value(),
        "values": amount.values,
        "sum": amount.sum.value(),
    })
}

/// A worker as JSON.
pub(super) fn worker_json<'a>(
    group: &Group,
    report: &Report,
    metrics: impl Iterator<Item = &'a Metric>,
) -> Value {
    let accounts = group.snapshots.iter().map(|snapshot| {
        let accounts: serde_json::Map<String, Value> =
            snapshot.accounts.named().map(|(name, of)| (name.into(), amount(of))).collect();
        json!({
            "state": snapshot.directory,
            "shard": snapshot.shard.to_string(),
            "accounts": accounts,
            "waiting": amount(waiting(snapshot)),
            "batches": snapshot.batches.len(),
            "damaged": snapshot.damaged.0,
            "last_damage": snapshot.damaged.1,
        })
    });
    let metrics = by_name(metrics).into_iter().map(|((name, kind), of)| {
        json!({
            "name": name,
            "kind": kind.name(),
            "programs": of.instances,
            "sent": amount(of.sent),
            "settled": amount(of.settled),
            "equal": of.found == Some(Found::Equal),
            "why": of.why,
        })
    });
    let differences = report.differences.iter();
    let differences = differences.map(|of| json!({"hop": of.hop, "what": of.what, "why": of.why}));
    let sum = |of: fn(&Metric) -> Amount| amount(report.metrics.iter().map(of).sum());
    json!({
        "backend": group.snapshots.first().and_then(|snapshot| snapshot.backend.clone()),
        "states": accounts.collect::<Vec<_>>(),
        "compared": report.metrics.len(),
        "equal": report.count(Found::Equal),
        "in_flight": report.count(Found::InFlight),
        "ahead": report.count(Found::Ahead),
        "unknown": report.count(Found::Unknown),
        "behind": report.count(Found::Behind),
        "different": report.count(Found::Differs),
        "sent": sum(|metric| metric.sent),
        "settled": sum(|metric| metric.settled),
        "missed": report.missed,
        "known_alone": report.alone,
        "live": report.live.iter().map(|live| json!({
            "source": live.source,
            "worker": live.worker,
            "counters": live.counters,
            "troubles": live.troubles(),
        })).collect::<Vec<_>>(),
        "differences": differences.collect::<Vec<_>>(),
        "metrics": metrics.collect::<Vec<_>>(),
    })
}
