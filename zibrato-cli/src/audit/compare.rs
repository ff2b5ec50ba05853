//! Comparing what was sent with what was settled, metric by metric, and the accounts of each worker.
//!
//! Everything moves meanwhile, so each settled total is compared with what had been sent before it was read and with what
//! had been sent after: what is in between is on its way.

use std::collections::{BTreeMap, HashMap};

use zibrato_core::frame::{InstanceId, Key, Kind};
use zibrato_worker::{Amount, Snapshot, SnapshotOrigin};

use super::live::Live;
use super::sent::{Sent, Total};
use super::workers::{Group, waiting};

/// How a metric of an instance was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Found {
    /// All that was sent is settled.
    Equal,
    /// The rest came while this was looked at.
    InFlight,
    /// The worker has more than the broker, which was started again or keeps it no longer.
    Ahead,
    /// Who has it was not looked at.
    Unknown,
    /// Less is settled than was sent a while ago.
    Behind,
    /// It cannot come from what was sent.
    Differs,
}

/// A metric of an instance, in one worker.
#[derive(Debug, Clone)]
pub(crate) struct Metric {
    pub(crate) instance: InstanceId,
    pub(crate) level: String,
    pub(crate) source: String,
    pub(crate) key: Key,
    pub(crate) sent: Amount,
    pub(crate) settled: Amount,
    pub(crate) found: Found,
    /// Why, where it is not equal.
    pub(crate) why: String,
}

/// Something that is not as it must be, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) hop: &'static str,
    pub(crate) what: String,
    pub(crate) why: String,
}

/// What was found of one worker.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) metrics: Vec<Metric>,
    /// Instances (each level of one for itself) that brokers do not know any more.
    pub(crate) alone: usize,
    /// Sets that never came, of all instances.
    pub(crate) missed: u64,
    pub(crate) differences: Vec<Difference>,
    /// The workers of its backend that run.
    pub(crate) live: Vec<Live>,
}

/// From a program to the worker's ledger.
pub(crate) const TO_WORKER: &str = "broker → worker";
/// What is written down of instances.
pub(crate) const SETTLED: &str = "settled totals";
/// From the ledger to the backend.
pub(crate) const OUTBOX: &str = "outbox → backend";

/// The settled row of a metric, and the newest set settled of its instance.
type Settled = (u64, Amount);

impl Report {
    /// Whether something that was sent before is not settled yet.
    pub(crate) fn is_behind(&self) -> bool {
        self.metrics.iter().any(|metric| metric.found == Found::Behind)
    }

    pub(crate) fn count(&self, found: Found) -> usize {
        self.metrics.iter().filter(|metric| metric.found == found).count()
    }
}

/// Compares a worker that was read after all that is `before` was sent, and before all that is `after`.
pub(crate) fn compare(group: &Group, before: &Sent, after: &Sent) -> Report {
    let mut settled: HashMap<(InstanceId, &str), Vec<&SnapshotOrigin>> = HashMap::new();
    for origin in group.snapshots.iter().flat_map(|snapshot| &snapshot.origins) {
        settled.entry((origin.instance, &origin.level)).or_default().push(origin);
    }
    let live = Live::of(after, group.backend());
    let context = Context { group, live: &live };
    let mut metrics = Vec::new();
    for ((instance, level), origin) in before.0.iter().filter(|((_, level), _)| group.listens(level)) {
        let known = settled.get(&(*instance, level.as_str()));
        let rows: HashMap<&Key, Settled> = known
            .into_iter()
            .flatten()
            .flat_map(|origin| &origin.rows)
            .map(|(key, sequence, state)| (key, (*sequence, Amount::of_state(state))))
            .collect();
        let later = after.0.get(&(*instance, level.clone()));
        for (key, total) in &origin.metrics {
            let newest = later.and_then(|later| later.metrics.get(key)).copied().unwrap_or(*total);
            let row = rows.get(key).copied();
            let (found, why) = judge(key, *total, newest, row, known.is_some(), &context);
            metrics.push(Metric {
                instance: *instance,
                level: level.clone(),
                source: origin.source.clone(),
                key: key.clone(),
                sent: newest.amount,
                settled: row.map_or(Amount::default(), |row| row.1),
                found,
                why,
            });
        }
    }
    metrics.sort_by(|one, other| {
        (&one.level, &one.key, one.instance).cmp(&(&other.level, &other.key, other.instance))
    });
    let mut differences: Vec<Difference> = metrics.iter().filter_map(difference).collect();
    group.snapshots.iter().for_each(|snapshot| check(snapshot, &mut differences));
    let alone = |of: &&(InstanceId, &str)| !after.0.contains_key(&(of.0, of.1.to_string()));
    Report {
        alone: settled.keys().filter(alone).count(),
        missed: settled.values().flatten().map(|origin| origin.missed).sum(),
        metrics,
        differences,
        live,
    }
}

/// What else is known where something is late.
struct Context<'a> {
    group: &'a Group,
    live: &'a [Live],
}

fn judge(
    key: &Key,
    before: Total,
    after: Total,
    settled: Option<Settled>,
    is_known: bool,
    context: &Context<'_>,
) -> (Found, String) {
    let nothing = Amount::default();
    let Some((sequence, settled)) = settled else {
        return match () {
            () if before.amount.is_equal(nothing) => (Found::Equal, String::new()),
            () if !context.group.is_whole() => (Found::Unknown, "it may be another shard's".into()),
            () if is_known => {
                (Found::Behind, late(context, "its program is known, this metric is not settled yet"))
            }
            () => (Found::Behind, late(context, "its program has not been settled yet")),
        };
    };
    if settled.is_equal(after.amount) {
        return (Found::Equal, String::new());
    }
    if settled.is_equal(before.amount) {
        return (Found::InFlight, "in flight".into());
    }
    let up = |one: Amount, other: Amount| at_least(key.kind, one, other);
    match () {
        () if key.kind == Kind::Updown && sequence > after.sequence => ahead(),
        () if key.kind == Kind::Updown && sequence > before.sequence => (Found::InFlight, "in flight".into()),
        () if key.kind == Kind::Updown && sequence < before.sequence => {
            (Found::Behind, late(context, "what came since is not settled"))
        }
        () if key.kind == Kind::Updown => {
            (Found::Differs, "the same set was settled with another total".into())
        }
        () if up(settled, before.amount) && up(after.amount, settled) => {
            (Found::InFlight, "in flight".into())
        }
        () if up(settled, after.amount) && sequence > after.sequence => ahead(),
        () if up(settled, after.amount) => {
            (Found::Differs, "more is settled than was sent: the state was changed by something else".into())
        }
        () if sequence < before.sequence => (Found::Behind, late(context, "what came since is not settled")),
        () => (
            Found::Differs,
            "less is settled than that very set had: the state was changed by something else".into(),
        ),
    }
}

fn ahead() -> (Found, String) {
    (Found::Ahead, "the worker knows a newer set than the broker, which was started again".into())
}

/// Why something may be late.
fn late(Context { group, live }: &Context<'_>, what: &str) -> String {
    let troubles: Vec<String> = live.iter().flat_map(Live::troubles).collect();
    if !troubles.is_empty() {
        return format!("{what}: a worker of this backend tells of {}", troubles.join(", "));
    }
    let most = group.snapshots.iter().map(|snapshot| snapshot.batches.len()).max().unwrap_or(0);
    match most {
        0 => format!(
            "{what}: the worker does not run or does not hear this broker, or --wait is shorter than its --flush"
        ),
        _ => format!(
            "{what}: the worker does not run, does not hear this broker, or its outbox is full ({most} batches wait)"
        ),
    }
}

/// Whether a total that never falls may have become another one.
fn at_least(kind: Kind, later: Amount, earlier: Amount) -> bool {
    match kind {
        Kind::Counter => later.counted.value() >= earlier.counted.value(),
        _ => later.values >= earlier.values,
    }
}

fn difference(metric: &Metric) -> Option<Difference> {
    if metric.found < Found::Behind {
        return None;
    }
    let what = format!(
        "{} ({}, level {}, instance {}): {} sent, {} settled",
        named(&metric.key),
        metric.source,
        metric.level,
        metric.instance,
        figure(metric.key.kind, metric.sent),
        figure(metric.key.kind, metric.settled)
    );
    Some(Difference { hop: TO_WORKER, what, why: metric.why.clone() })
}

/// A metric's name with its tags.
pub(crate) fn named(key: &Key) -> String {
    if key.tags.is_empty() { key.name.to_string() } else { format!("{}{{{}}}", key.name, key.tags) }
}

/// The number of a total that people look at.
pub(crate) fn figure(kind: Kind, amount: Amount) -> String {
    match kind {
        Kind::Counter | Kind::Updown => crate::number::count(amount.counted.value()),
        _ => format!("{} values", crate::number::count(amount.values as f64)),
    }
}

/// Checks that a worker's accounts and what is on its disk agree.
fn check(snapshot: &Snapshot, differences: &mut Vec<Difference>) {
    let directory = snapshot.directory.display();
    let mut differ =
        |hop, what: String, why: &str| differences.push(Difference { hop, what, why: why.into() });
    let changed = "changed by something else than Zibrato, or the disk is damaged";
    for fault in &snapshot.faults {
        let hop = if fault.starts_with("batch") { OUTBOX } else { SETTLED };
        differ(hop, format!("{directory}: {fault}"), changed);
    }
    for origin in snapshot.origins.iter().filter(|origin| !origin.found.is_equal(origin.amount)) {
        let what = format!(
            "{directory}: the settled totals of instance {} at level {} add up to {}, not {}",
            origin.instance,
            origin.level,
            both(origin.found),
            both(origin.amount)
        );
        differ(SETTLED, what, changed);
    }
    let rows: Amount = snapshot.origins.iter().map(|origin| origin.amount).sum();
    let accounts = &snapshot.accounts;
    if !rows.is_equal(accounts.rows) {
        let what =
            format!("{directory}: all settled totals add up to {}, not {}", both(rows), both(accounts.rows));
        differ(SETTLED, what, "instances were removed or added by something else than Zibrato");
    }
    let (waits, expected) = (waiting(snapshot), accounts.waiting());
    if !waits.is_equal(expected) {
        let what = format!(
            "{directory}: {} datapoints wait ({}), and {} should ({})",
            waits.datapoints,
            both(waits),
            expected.datapoints.cast_signed(),
            both(expected)
        );
        differ(OUTBOX, what, "batches were removed, added or changed by something else than Zibrato");
    }
}

fn both(amount: Amount) -> String {
    let count = crate::number::count;
    format!("{} counted and {} values", count(amount.counted.value()), count(amount.values as f64))
}

/// The same metrics of all instances and levels together, by name.
pub(crate) fn by_name<'a>(metrics: impl Iterator<Item = &'a Metric>) -> BTreeMap<(String, Kind), ByName> {
    let mut names: BTreeMap<(String, Kind), ByName> = BTreeMap::new();
    for metric in metrics {
        let of = names.entry((metric.key.name.to_string(), metric.key.kind)).or_default();
        of.sent = of.sent.plus(metric.sent);
        of.settled = of.settled.plus(metric.settled);
        of.instances += 1;
        if of.found.is_none_or(|found| metric.found > found) {
            (of.found, of.why) = (Some(metric.found), metric.why.clone());
        }
    }
    names
}

/// All metrics of one name.
#[derive(Debug, Clone, Default)]
pub(crate) struct ByName {
    pub(crate) sent: Amount,
    pub(crate) settled: Amount,
    pub(crate) instances: usize,
    /// The worst of them.
    pub(crate) found: Option<Found>,
    pub(crate) why: String,
}
