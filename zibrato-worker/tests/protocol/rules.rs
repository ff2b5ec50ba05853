//! One test for each rule: small worlds in which the rule is what makes the difference.

use crate::app::Phase;
use crate::judge::Violation;
use crate::plan::{ACTIVE, Act, DEBUG, Event, Fate, INFO, NEVER, Outages, Plan, Repeats};
use crate::world::{World, run};

/// How many random worlds with its mix of faults a rule gets.
const WORLDS: u64 = 12;

fn holds(plan: &Plan) {
    if let Err(why) = run(plan) {
        panic!("{why}");
    }
}

/// Random worlds, each with the same things made certain.
fn worlds(change: impl Fn(&mut Plan)) {
    for seed in 0..WORLDS {
        let mut plan = Plan::random(1_000_000 + seed);
        (plan.retention, plan.forget, plan.slots, plan.shared) = (NEVER, NEVER, 1000, false);
        change(&mut plan);
        holds(&plan);
    }
}

fn count(at: u64, metric: &'static str, n: i64) -> (u64, Event) {
    (at, Event::Count { app: 0, level: INFO, metric, n })
}

/// An application that counts 5 and 7 soon and 11 at its end at tick 20.
fn one(fate: Fate) -> Plan {
    Plan {
        apps: vec![Plan::app(0, 20, fate)],
        script: vec![count(1, "m0", 10), count(8, "m0", 14), count(19, "m0", 22)],
        ..Plan::calm()
    }
}

const ALL: i64 = 46;

/// Runs a plan; what the first group's backend has of a metric of the first application, and what is wrong.
fn accepted(plan: &Plan, metric: &str) -> (i64, Vec<Violation>, World) {
    let mut world = World::new(plan.clone(), false);
    let wrong = world.run();
    let totals = world.groups[0].stored.lock().unwrap().totals();
    let name = format!("{metric}.{INFO}");
    let have = totals.iter().find(|(series, _)| series.name == name).map_or(0, |(_, amount)| amount[0]);
    (have, wrong, world)
}

fn is_exact(plan: &Plan) {
    holds(plan);
    assert_eq!(accepted(plan, "m0").0, ALL, "{plan:?}");
}

fn apps_only_end(plan: &mut Plan) {
    plan.apps.iter_mut().for_each(|app| app.fate = Fate::End);
}

// Frames.

#[test]
fn a_row_counts_by_its_own_sequence_however_late_it_is() {
    worlds(|plan| {
        apps_only_end(plan);
        (plan.delay, plan.frame, plan.always_complete) = (6, 1, 0);
    });
}

#[test]
fn a_changed_only_set_has_what_changed_since_the_complete_one() {
    worlds(|plan| {
        (plan.loss, plan.always_complete, plan.frame) = (0.3, 0, 1 << 20);
    });
}

#[test]
fn one_name_at_two_levels_and_of_two_instances_is_several_totals() {
    worlds(|plan| {
        plan.shared = true;
        plan.apps.iter_mut().for_each(|app| (app.fate, app.stop) = (Fate::End, NEVER));
        plan.groups.iter_mut().for_each(|g| (g.start, g.levels, g.add) = (0, "info,debug", 0));
    });
}

#[test]
fn a_set_is_complete_when_all_its_parts_are_here() {
    worlds(|plan| {
        (plan.loss, plan.frame) = (0.3, 1);
        plan.groups.iter_mut().for_each(|group| group.start = 30);
    });
}

// Ending.

#[test]
fn an_end_is_acknowledged_when_it_is_on_the_disk() {
    for kill in 20..28 {
        for frame in [1, 1 << 20] {
            let mut plan = one(Fate::End);
            plan.script.push((15, Event::KillWorker { group: 0, down: 40 }));
            plan.frame = frame;
            plan.script.push((19, Event::Count { app: 0, level: DEBUG, metric: "t", n: 1 }));
            plan.script.push((kill, Event::KillBroker { broker: 0, down: 1 }));
            is_exact(&plan);
        }
    }
}

#[test]
fn an_acknowledgement_covers_all_parts_of_every_level() {
    worlds(|plan| {
        apps_only_end(plan);
        (plan.loss, plan.frame, plan.spill, plan.broker_kill) = (0.3, 1, false, 0.04);
    });
}

#[test]
fn last_sets_are_repeated_until_they_are_acknowledged() {
    let plan = Plan { outages: Outages { ask: vec![(15, 32)], ..Outages::default() }, ..one(Fate::End) };
    is_exact(&plan);
    assert_eq!(accepted(&plan, "m0").2.apps[0].phase, Phase::Ended);
}

#[test]
fn a_repeated_set_has_the_time_of_its_sending() {
    // The worker listens since 60, so what happened before 20 is no news to it, whenever it is delivered.
    let mut plan = Plan {
        outages: Outages { ask: vec![(15, 80)], push: vec![(0, 90)], ..Outages::default() },
        ..one(Fate::End)
    };
    (plan.spill, plan.groups[0].start) = (true, 60);
    holds(&plan);
    let (have, _, world) = accepted(&plan, "m0");
    assert_eq!((have, world.apps[0].phase), (0, Phase::Ended));
}

#[test]
fn an_end_that_nobody_acknowledged_is_spilled_and_delivered_later() {
    let mut plan = Plan {
        outages: Outages { ask: vec![(15, 80)], push: vec![(0, 90)], ..Outages::default() },
        ..one(Fate::End)
    };
    plan.spill = true;
    is_exact(&plan);
    plan.spill = false;
    holds(&plan);
    let (have, _, world) = accepted(&plan, "m0");
    assert_eq!((have, world.apps[0].phase), (0, Phase::Unheard));
}

#[test]
fn a_new_instance_after_the_end_starts_at_zero() {
    let mut plan = one(Fate::End);
    plan.shared = true;
    plan.apps.push(Plan::app(21, NEVER, Fate::End));
    plan.script.push((30, Event::Count { app: 1, level: INFO, metric: "m0", n: 8 }));
    let mut world = World::new(plan.clone(), false);
    assert_eq!(world.run(), []);
    let totals = world.groups[0].stored.lock().unwrap().totals();
    assert_eq!(totals.values().collect::<Vec<_>>(), [&vec![ALL + 8]]);
}

// Metrics that retire and return.

#[test]
fn a_retired_metric_counts_to_its_end_and_returns_at_zero() {
    for (push, publish, kill) in
        [(90, 0, 99), (0, 90, 99), (90, 90, 99), (0, 0, 11), (0, 90, 12), (0, 90, 13)]
    {
        let mut plan = one(Fate::End);
        plan.apps[0].stop = NEVER;
        plan.outages = Outages { push: vec![(9, push)], publish: vec![(9, publish)], ask: vec![] };
        plan.script.push((10, Event::Retire { app: 0, level: INFO, metric: "m0" }));
        plan.script.push((kill, Event::KillBroker { broker: 0, down: 1 }));
        is_exact(&plan);
    }
}

// Asking.

#[test]
fn workers_ask_again_and_again() {
    let outages = Outages { publish: vec![(0, 90)], ..Outages::default() };
    is_exact(&Plan { outages, ..one(Fate::End) });
}

#[test]
fn workers_ask_every_broker() {
    for away in 0..2 {
        let mut plan = Plan { brokers: 2, ..one(Fate::End) };
        plan.outages.publish = vec![(0, 90)];
        plan.script.push((10, Event::KillBroker { broker: away, down: 30 }));
        is_exact(&plan);
    }
}

#[test]
fn who_ends_or_falls_silent_is_told_to_those_who_ask_with_a_cursor() {
    for fate in [Fate::End, Fate::Crash] {
        let mut plan = one(fate);
        plan.outages.publish = vec![(10, 90)];
        is_exact(&plan);
    }
}

#[test]
fn a_cursor_is_of_one_life_of_a_broker() {
    // The first life's log is longer than all that the second one ever has.
    let mut plan = one(Fate::End);
    plan.apps.extend((0..8).map(|i| Plan::app(0, 3 + i, Fate::End)));
    for app in 1..9 {
        plan.script.push((1, Event::Count { app, level: INFO, metric: "m1", n: 2 }));
    }
    plan.apps[0].start = 0;
    plan.outages.publish = vec![(13, 90)];
    plan.script.push((16, Event::KillBroker { broker: 0, down: 1 }));
    holds(&plan);
}

#[test]
fn a_cursor_moves_with_whole_answers_only() {
    worlds(|plan| {
        (plan.loss, plan.outages.publish) = (0.3, vec![(0, ACTIVE)]);
        plan.outages.ask.clear();
    });
}

#[test]
fn a_worker_that_starts_asks_for_everything() {
    for kill in 5..30 {
        for down in [1, 40] {
            let mut plan = one(Fate::End);
            plan.script.push((kill, Event::KillWorker { group: 0, down }));
            is_exact(&plan);
        }
    }
}

// Settling.

#[test]
fn the_batch_and_the_settled_totals_are_one_transaction() {
    worlds(|plan| (plan.worker_kill, plan.long_down) = (0.2, false));
}

#[test]
fn older_rows_change_nothing_after_a_restart() {
    worlds(|plan| (plan.worker_kill, plan.delay, plan.twice, plan.long_down) = (0.1, 6, 0.3, false));
}

#[test]
fn a_batch_is_kept_until_the_backend_has_accepted_it() {
    let acts =
        [Act::Fail, Act::LoseAnswer, Act::Slow, Act::PartThenFail, Act::Part, Act::RefuseOne, Act::RefuseAll];
    for repeats in [Repeats::ById, Repeats::ByTime, Repeats::Unknown] {
        for first in acts {
            for second in acts {
                let mut plan = one(Fate::End);
                plan.groups[0].repeats = repeats;
                plan.script.extend(
                    [2, 2, 2, 2].map(|at| (at, Event::Count { app: 0, level: DEBUG, metric: "t", n: 3 })),
                );
                plan.script.extend([first, second].map(|act| (2, Event::Backend { group: 0, act })));
                is_exact(&plan);
            }
        }
        for after in [false, true] {
            let mut plan = one(Fate::End);
            plan.groups[0].repeats = repeats;
            plan.script.push((2, Event::KillSender { group: 0, after }));
            is_exact(&plan);
        }
    }
}

#[test]
fn batch_times_rise_whatever_the_clock_does() {
    worlds(|plan| {
        (plan.steps, plan.worker_kill, plan.long_down) = (3, 0.15, false);
        plan.groups.iter_mut().for_each(|group| group.repeats = Repeats::ByTime);
    });
    for by in [-3600, -5, -1, 1, 5] {
        let mut plan = one(Fate::End);
        plan.groups[0].repeats = Repeats::ByTime;
        plan.script.push((7, Event::Step { group: 0, by }));
        is_exact(&plan);
    }
}

#[test]
fn shards_write_series_of_their_own() {
    worlds(|plan| plan.groups.iter_mut().for_each(|g| (g.shards, g.repeats) = (3, Repeats::ByTime)));
}

#[test]
fn only_batches_never_attempted_are_merged() {
    worlds(|plan| (plan.outbox, plan.bad_backend, plan.batch_size) = (3, 0.8, 3));
}

// First sight.

#[test]
fn first_sight_compares_durations_of_one_clock() {
    worlds(|plan| {
        (plan.skew, plan.steps) = (3600, 0);
        plan.groups.iter_mut().for_each(|group| group.start = 45);
    });
}

#[test]
fn what_a_broker_has_held_is_as_old_as_it_is() {
    let mut plan = one(Fate::End);
    plan.groups[0].start = 75;
    holds(&plan);
    assert_eq!(accepted(&plan, "m0").0, 0, "it ended long before anybody listened");
}

#[test]
fn clock_steps_do_not_make_an_instance_old() {
    for by in [-3, 3] {
        let mut plan = one(Fate::End);
        // As old as the subscription: two ticks on the way are less than the step.
        plan.script[0].0 = 0;
        plan.outages.publish = vec![(0, 6)];
        plan.script.push((2, Event::KillWorker { group: 0, down: 1 }));
        plan.script.push((2, Event::Step { group: 0, by }));
        is_exact(&plan);
    }
}

#[test]
fn a_level_is_as_old_as_its_first_count() {
    let mut plan = one(Fate::End);
    (plan.apps[0].stop, plan.groups[0].start) = (NEVER, 40);
    plan.script.push((60, Event::Count { app: 0, level: DEBUG, metric: "m1", n: 6 }));
    holds(&plan);
    let totals = {
        let (.., world) = accepted(&plan, "m0");
        world.groups[0].stored.lock().unwrap().totals()
    };
    assert_eq!(totals.values().filter(|amount| amount[0] != 0).collect::<Vec<_>>(), [&vec![6]]);
}

#[test]
fn a_worker_knows_since_when_it_listens_to_each_level() {
    worlds(|plan| {
        plan.groups.iter_mut().for_each(|group| (group.start, group.levels, group.add) = (0, "info", 45));
    });
}

#[test]
fn a_baseline_is_one_whole_complete_set() {
    worlds(|plan| {
        (plan.loss, plan.frame, plan.always_complete) = (0.3, 260, 0);
        plan.groups.iter_mut().for_each(|group| group.start = 30);
    });
}

// Silence, horizons and forgetting.

#[test]
fn a_crashed_instance_outlives_the_broker_that_heard_it() {
    for kill in [60, 70, 80] {
        let mut plan = one(Fate::Crash);
        plan.script.push((15, Event::KillWorker { group: 0, down: 70 }));
        plan.script.push((kill, Event::KillBroker { broker: 0, down: 2 }));
        is_exact(&plan);
    }
}

#[test]
fn past_the_limits_of_a_broker_nothing_is_ever_too_much() {
    for seed in 0..WORLDS {
        let mut plan = Plan::random(2_000_000 + seed);
        (plan.retention, plan.forget, plan.shared) = (40, NEVER, false);
        plan.slots = if seed % 2 == 0 { 3 } else { 1000 };
        (plan.long_down, plan.worker_kill) = (true, 0.05);
        holds(&plan);
    }
}

/// Counts 5 and 7 early, is not heard from 10 to 70, and counts 11 meanwhile.
fn away_for_long() -> Plan {
    let mut plan = one(Fate::End);
    (plan.apps[0].stop, plan.forget) = (NEVER, 15);
    plan.script[2].0 = 60;
    plan.outages.push = vec![(10, 70)];
    plan
}

#[test]
fn what_was_forgotten_is_not_counted_again() {
    for kill in [5, 71, 75, 85, 88] {
        let mut plan = away_for_long();
        plan.script.push((kill, Event::KillWorker { group: 0, down: 1 }));
        let (have, _, world) = accepted(&plan, "m0");
        assert!(world.groups[0].workers[0].forgotten.is_some(), "the test needs it to be forgotten");
        assert!((24..=ALL).contains(&have), "{have}");
    }
}

#[test]
fn forgetting_waits_while_a_broker_does_not_answer() {
    let mut plan = away_for_long();
    plan.outages.ask = vec![(8, 75)];
    is_exact(&plan);
}
