//! What must hold in the end: what backends have accepted is what was recorded, or one of the weaker statements
//! that are allowed where something crashed, began before anybody listened, or was past a limit.

use std::collections::{BTreeMap, BTreeSet};

use zibrato_worker::{Kind, Series};

use crate::app::{Amount, App, Level, Lifetime, Phase, kind_of, minus, plus, zero};
use crate::plan::{NEVER, SLACK, WAY};
use crate::worker::{Group, Worker};
use crate::world::World;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Violation {
    pub(crate) app: Option<usize>,
    what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)
    }
}

/// All that is wrong.
pub(crate) fn judge(world: &World) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut wrong = |app, what| violations.push(Violation { app, what });
    for broker in &world.brokers {
        if broker.conflicts() > 0 {
            wrong(None, format!("broker{} saw conflicts", broker.index));
        }
    }
    for (number, group) in world.groups.iter().enumerate() {
        let stored = group.stored.lock().unwrap();
        for what in stored
            .wrong
            .iter()
            .chain(group.workers.iter().flat_map(|w| w.complaints()).collect::<Vec<_>>().iter())
        {
            wrong(None, format!("group{number}: {what}"));
        }
        let totals = stored.totals();
        drop(stored);
        if world.plan.shared {
            if let Some(what) = judge_sums(world, &totals) {
                wrong(None, format!("group{number}: {what}"));
            }
            continue;
        }
        let mut totals: BTreeMap<(String, String), Amount> =
            totals.into_iter().map(|(series, amount)| ((series.source, series.name), amount)).collect();
        for app in &world.apps {
            for (name, level) in &app.levels {
                for worker in &group.workers {
                    if let Some(what) = judge_level(world, group, worker, app, name, level, &mut totals) {
                        let (i, j) = (app.index, worker.me.index);
                        wrong(Some(i), format!("worker{number}.{j}, app{i}/{name}: {what}"));
                    }
                }
            }
        }
        for (series, amount) in totals.into_iter().filter(|(_, amount)| amount.iter().any(|n| *n != 0)) {
            wrong(None, format!("group{number}: {series:?} {amount:?} that nobody recorded"));
        }
    }
    violations
}

/// Where all write the same series, their sums must be right.
fn judge_sums(world: &World, totals: &BTreeMap<Series, Amount>) -> Option<String> {
    let mut sums: BTreeMap<String, Amount> = BTreeMap::new();
    for app in &world.apps {
        if !app.is_exact() {
            return None;
        }
        for (name, lives) in app.levels.values().flat_map(|level| &level.metrics) {
            for life in lives.iter().filter(|_| kind_of(name) != Kind::Gauge) {
                let sum = sums.entry(name.clone()).or_insert_with(|| zero(name));
                *sum = plus(sum, &life.total);
            }
        }
    }
    let mut names: BTreeMap<String, Amount> = BTreeMap::new();
    for (series, amount) in totals {
        names.insert(series.name.clone(), amount.clone());
    }
    for (name, sum) in sums {
        let have = names.get(&name).cloned().unwrap_or_else(|| zero(&name));
        if have != sum {
            return Some(format!("{name}: recorded {sum:?}, accepted {have:?}"));
        }
    }
    None
}

fn judge_level(
    world: &World,
    group: &Group,
    worker: &Worker,
    app: &App,
    name: &str,
    level: &Level,
    totals: &mut BTreeMap<(String, String), Amount>,
) -> Option<String> {
    let source = format!("app{}", app.index);
    let mut have: BTreeMap<&String, Amount> = BTreeMap::new();
    for metric in level.metrics.keys() {
        let stored = format!("{metric}.{name}");
        let series =
            Series { name: stored.clone(), source: source.clone(), tags: Vec::new(), kind: kind_of(metric) };
        if worker.shard.has(&series) {
            if kind_of(metric) == Kind::Gauge {
                if let Some(what) = judge_gauge(group, worker, app, name, metric, level, &series) {
                    return Some(what);
                }
                continue;
            }
            let amount = totals.remove(&(source.clone(), stored)).unwrap_or_else(|| zero(metric));
            have.insert(metric, amount);
        }
    }
    let nothing = have.values().all(|amount| amount.iter().all(|n| *n == 0));
    let Some(&since) = worker.since.get(name) else {
        return (!nothing).then(|| "is a level that was not asked for".to_string());
    };
    let key = (app.index, name.to_string());
    let exact = app.is_exact();
    let forgets = world.plan.forget < NEVER;
    let mut limit = world.brokers.iter().any(|b| b.evicted.contains(&key))
        || (app.was_spilled && forgets)
        || worker.too_old.contains(&key);
    let taken_for_forgotten = worker.forgotten.is_some_and(|before| level.start <= before);
    let live = app.phase == Phase::Live;
    limit |= taken_for_forgotten && !exact;
    let passed = limit;
    limit &= !live;

    let tops = |metric: &str, number: usize, life: &Lifetime| -> BTreeSet<Amount> {
        // Brokers drop retired sets at their horizon, also of instances that live.
        let dropped = life.retired.is_some_and(|set| {
            passed
                || world.plan.retention < NEVER
                || world.plan.slots < 1000
                // Complete sets no longer have it, and the set that does was never taken.
                || !exact && !app.acknowledged.contains(&(name.to_string(), set))
        });
        if exact && !limit && !dropped {
            return BTreeSet::from([life.total.clone()]);
        }
        let heard = world.brokers.iter().filter_map(|b| b.heard.get(&key));
        let row = format!("{metric}.{name}");
        let newest = heard.map(|heard| {
            let whole = if life.retired.is_none() { heard.newest_whole() } else { 0 };
            heard.newest(&row, life.born).max(whole)
        });
        let low = if limit || dropped { 0 } else { newest.max().unwrap_or(0) };
        let sets = level.sets.range(low..).filter_map(|(_, set)| set.totals.get(&(metric.into(), number)));
        let mut tops: BTreeSet<Amount> = sets.cloned().collect();
        // Where no set has it since, it was counted after the last one.
        if low == 0
            || tops.is_empty()
            || level
                .sets
                .range(..=low)
                .next_back()
                .is_some_and(|(_, set)| !set.totals.contains_key(&(metric.into(), number)))
        {
            tops.insert(zero(metric));
        }
        tops
    };
    let mut bases = Vec::new();
    let old = level.start + 2 * SLACK + WAY < since;
    if !old || limit {
        bases.push(None);
    }
    if level.start < since || limit || taken_for_forgotten {
        bases.extend(level.sets.iter().filter(|(_, set)| set.complete).map(Some));
    }
    let all_tops: Vec<_> = have
        .keys()
        .flat_map(|metric| level.metrics[*metric].iter().enumerate().map(move |(i, life)| (*metric, i, life)))
        .map(|(metric, i, life)| ((metric, i), tops(metric, i, life)))
        .collect();
    let all_tops: BTreeMap<_, _> = all_tops.into_iter().collect();
    let fits = |base: &Option<(&u64, &crate::app::Published)>| {
        have.iter().all(|(metric, have)| {
            let mut sums = BTreeSet::from([zero(metric)]);
            for (number, life) in level.metrics[*metric].iter().enumerate() {
                let mut taken = BTreeSet::from([zero(metric)]);
                if let Some((sequence, set)) = base {
                    match set.totals.get(&((*metric).clone(), number)) {
                        Some(total) => taken = BTreeSet::from([total.clone()]),
                        // The set before the one that retires it does not have it any more.
                        None if life.retired.is_some_and(|retired| retired <= **sequence + 1) => {
                            taken.insert(life.total.clone());
                            // Up to where it was known at the baseline; the set that retires it may come later.
                            let key = ((*metric).clone(), number);
                            taken.extend(level.sets.values().filter_map(|set| set.totals.get(&key)).cloned());
                        }
                        None => {}
                    }
                }
                let tops = &all_tops[&(*metric, number)];
                let sum = |sum: &Amount| -> BTreeSet<Amount> {
                    tops.iter().flat_map(|top| taken.iter().map(move |t| plus(sum, &minus(top, t)))).collect()
                };
                sums = sums.iter().flat_map(sum).collect();
            }
            sums.contains(have)
        })
    };
    if bases.iter().any(fits) {
        return None;
    }
    // No complete set was ever heard of it.
    if nothing && ((!exact && level.start < since) || limit) {
        return None;
    }
    let recorded: BTreeMap<_, Vec<_>> = have
        .keys()
        .map(|m| (*m, level.metrics[*m].iter().map(|l| (l.total.clone(), l.retired)).collect()))
        .collect();
    Some(format!(
        "{:?}, recorded {recorded:?}, accepted {have:?}; it began at {}, the worker listens since {since}",
        app.phase, level.start
    ))
}

/// A gauge of a program that runs is what it was set to last.
fn judge_gauge(
    group: &Group,
    worker: &Worker,
    app: &App,
    name: &str,
    metric: &str,
    level: &Level,
    series: &Series,
) -> Option<String> {
    if app.phase != Phase::Live || !worker.since.contains_key(name) {
        return None;
    }
    let stored = group.stored.lock().unwrap();
    let life = level.metrics[metric].last()?;
    let have = stored.gauges.get(series).map(|(_, value)| *value);
    (have != Some(life.last.0)).then(|| format!("gauge {metric} is {}, accepted {have:?}", life.last.0))
}
