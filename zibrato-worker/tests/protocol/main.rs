//! The protocol under every fault: random worlds, and one small world for each rule.
//!
//! What is real: [`Publisher`](zibrato_core::publish::Publisher) and the bytes of its frames, the broker's memory
//! and state file, the messages of the ask socket, the worker's asking, ledger, settling, state directory and
//! sending. What is made up: readings, the network, clocks, backends, and kills. What tasks do around the real
//! parts (`zibrato`'s hand-over, the broker's `ask` and `pulse`, the worker's `run`) is written out in [`app`],
//! [`broker`] and [`worker`]; whoever changes the one changes the other.
//!
//! A tick is a second. Until tick [`plan::ACTIVE`] each message may be lost, doubled, delayed and overtaken,
//! channels have outages, clocks are skewed and stepped, brokers and workers are killed between any two steps and
//! perhaps stay away for long, applications crash or end, backends refuse, are slow, take a part, or take
//! everything and lose the answer. In the quiet afterwards [`judge`] compares what was recorded with what backends
//! have, before and after one more restart of every worker.
//!
//! `ZIBRATO_SEEDS=5000` runs more worlds, `ZIBRATO_SEED=17` just one. A failure prints the seed, the plan, and the
//! events of the application concerned.
//!
//! | rule of `docs/design.md` | tests, in [`rules`] and [`points`] |
//! |---|---|
//! | 1: parts, whole sets | `a_set_is_complete_when_all_its_parts_are_here`, `a_baseline_is_one_whole_complete_set` |
//! | 2: changed since the last complete set | `a_changed_only_set_has_what_changed_since_the_complete_one` |
//! | 3: the key of a row; highest sequence wins; late rows | `one_name_at_two_levels_and_of_two_instances_is_several_totals`, `a_row_counts_by_its_own_sequence_however_late_it_is`, `older_rows_change_nothing_after_a_restart`; no world may count a conflict |
//! | 4: what brokers keep, and write before they promise | `an_end_is_acknowledged_when_it_is_on_the_disk`, `a_crashed_instance_outlives_the_broker_that_heard_it`, `who_ends_or_falls_silent_is_told_to_those_who_ask_with_a_cursor` |
//! | 5: horizons | `past_the_limits_of_a_broker_nothing_is_ever_too_much`, `what_was_forgotten_is_not_counted_again`, `forgetting_waits_while_a_broker_does_not_answer` |
//! | 6: first sight | `first_sight_compares_durations_of_one_clock`, `what_a_broker_has_held_is_as_old_as_it_is`, `clock_steps_do_not_make_an_instance_old`, `a_level_is_as_old_as_its_first_count`, `a_worker_knows_since_when_it_listens_to_each_level`, `a_repeated_set_has_the_time_of_its_sending` |
//! | 7: retiring and returning | `a_retired_metric_counts_to_its_end_and_returns_at_zero` |
//! | 8: a new instance after the end | `a_new_instance_after_the_end_starts_at_zero` |
//! | 9: acknowledged ends, spilling | `last_sets_are_repeated_until_they_are_acknowledged`, `an_acknowledgement_covers_all_parts_of_every_level`, `an_end_that_nobody_acknowledged_is_spilled_and_delivered_later` |
//! | 10: points | `every_point_is_told_once` |
//! | 11: the promise | `totals_are_exact_in_random_worlds` |
//!
//! | rule of the simulation that the protocol was designed with | test |
//! |---|---|
//! | row-seq | `a_row_counts_by_its_own_sequence_however_late_it_is` |
//! | level-key | `one_name_at_two_levels_and_of_two_instances_is_several_totals` |
//! | whole-set | `a_set_is_complete_when_all_its_parts_are_here` |
//! | ack-durable | `an_end_is_acknowledged_when_it_is_on_the_disk` |
//! | ack-whole | `an_acknowledgement_covers_all_parts_of_every_level` |
//! | restamp | `a_repeated_set_has_the_time_of_its_sending` |
//! | last-resent | `last_sets_are_repeated_until_they_are_acknowledged` |
//! | ask-again | `workers_ask_again_and_again` |
//! | ask-every | `workers_ask_every_broker` |
//! | quiet-log | `who_ends_or_falls_silent_is_told_to_those_who_ask_with_a_cursor` |
//! | boot-id | `a_cursor_is_of_one_life_of_a_broker` |
//! | whole-answer | `a_cursor_moves_with_whole_answers_only` |
//! | reask-restart | `a_worker_that_starts_asks_for_everything` |
//! | one-tx | `the_batch_and_the_settled_totals_are_one_transaction` |
//! | settled-seq | `older_rows_change_nothing_after_a_restart` |
//! | keep-until-ok | `a_batch_is_kept_until_the_backend_has_accepted_it` |
//! | mono-time | `batch_times_rise_whatever_the_clock_does` |
//! | writer-tag | `shards_write_series_of_their_own` (series are dealt, so no tag is needed) |
//! | merge-unsent | `only_batches_never_attempted_are_merged` |
//! | durations | `first_sight_compares_durations_of_one_clock` |
//! | held-for | `what_a_broker_has_held_is_as_old_as_it_is` |
//! | sight-slack | `clock_steps_do_not_make_an_instance_old` |
//! | level-start | `a_level_is_as_old_as_its_first_count` |
//! | level-since | `a_worker_knows_since_when_it_listens_to_each_level` |
//! | base-complete | `a_baseline_is_one_whole_complete_set` |
//! | handover, handover-all, handover-since | none: workers are not re-dealt while they run; `tests/resharding.rs` tests moving state directories |
//! | horizon, horizon-fresh | `what_was_forgotten_is_not_counted_again` |
//! | forget-clock | `forgetting_waits_while_a_broker_does_not_answer` |
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod app;
mod backend;
mod broker;
mod judge;
mod net;
mod plan;
mod points;
mod random;
mod rules;
mod worker;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use plan::Plan;

/// How many random worlds there are without `ZIBRATO_SEEDS`.
const WORLDS: u64 = 300;

/// A directory for a state file: in memory where the system has a place for that, because here a kill never
/// takes the machine along.
fn directory() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let made = tempfile::Builder::new().prefix("zibrato-").tempdir_in(memory);
    made.or_else(|_| tempfile::tempdir()).unwrap()
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn totals_are_exact_in_random_worlds() {
    let seeds: Vec<u64> = match variable("ZIBRATO_SEED") {
        Some(seed) => vec![seed],
        None => (0..variable("ZIBRATO_SEEDS").unwrap_or(WORLDS)).collect(),
    };
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    let work = || {
        while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(why) = world::run(&Plan::random(seed)) {
                failed.lock().unwrap().push((seed, why));
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort();
    if let Some((seed, why)) = failed.first() {
        let numbers: Vec<u64> = failed.iter().map(|(seed, _)| *seed).collect();
        panic!(
            "{why}\n{} of {} worlds went wrong: seeds {numbers:?}\n\
             to see one: ZIBRATO_SEED={seed} cargo test -p zibrato-worker --test protocol random_worlds",
            numbers.len(),
            seeds.len()
        );
    }
}
