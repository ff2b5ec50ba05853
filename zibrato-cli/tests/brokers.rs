//! Two brokers are enough for no single point of failure.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod parts;

use std::collections::BTreeMap;
use std::time::Duration;

use parts::*;

const PLAN: Plan = Plan { threads: 2, bursts: 60, calls: 2_000 };
/// An end waits for one acknowledgement, then at most 200 ms for the other; for none it waits a minute.
const BRIEF: Duration = Duration::from_secs(15);

fn survives(killed: usize) {
    let scene = Scene::new();
    let mut brokers = [scene.broker("first", &[]), scene.broker("second", &[])];
    let mut worker = scene.worker(&[&brokers[0], &brokers[1]]);
    let start = |name: &str| scene.application(name, &[&brokers[0], &brokers[1]], PLAN);
    let (mut early, mut middle, mut late) = (start("early"), start("middle"), start("late"));
    let mut recorded = BTreeMap::new();
    let mut ended = |name: &str, application: Application| {
        let Ended { totals, took } = application.ended();
        assert!(took < BRIEF, "{name} took {took:?} to end");
        assert_eq!(totals.0["e2e.calls"], 240_000);
        recorded.insert(name.to_owned(), totals);
    };

    reach(&mut late, 0.2);
    early.finish();
    ended("early", early);
    a_moment(Duration::from_secs(1));
    // For good, perhaps while one ends.
    middle.finish();
    a_moment(Duration::from_millis(300));
    brokers[killed].kill();
    ended("middle", middle);
    reach(&mut late, 0.5);
    worker.kill();
    a_moment(Duration::from_secs(1));
    worker.start();
    reach(&mut late, 0.9);
    late.finish();
    ended("late", late);
    scene.until_equal(&recorded);
    worker.stop();
    scene.until_equal(&recorded);
}

fn reach(application: &mut Application, share: f64) {
    until(&format!("{share} of the work"), || {
        let done = application.progress();
        if done >= share { Ok(()) } else { Err(format!("{done} is done")) }
    });
}

#[test]
fn the_first_may_go_for_good() {
    survives(0);
}

#[test]
fn the_second_may_go_for_good() {
    survives(1);
}
