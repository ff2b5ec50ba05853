//! Nothing is lost and nothing comes twice, whatever is killed.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod parts;

use std::collections::BTreeMap;
use std::time::Duration;

use parts::*;
use zibrato_librato::endpoint::Script;

/// A million calls on each of four threads.
const PLAN: Plan = Plan { threads: 4, bursts: 100, calls: 10_000 };
const CALLS: i64 = 4_000_000;
/// How long a part is down at most.
const DOWN: Duration = Duration::from_millis(1200);

/// Four applications, those of them that have not been told to end, and what those have recorded that ended.
struct Applications {
    running: BTreeMap<String, Application>,
    recorded: BTreeMap<String, Totals>,
}

impl Applications {
    /// Waits until all that run have done so much of their work, and a moment more.
    fn reach(&mut self, share: f64) {
        until(&format!("{share} of the work"), || {
            let done = |application: &mut Application| application.progress();
            let least = self.running.values_mut().map(done).fold(1.0, f64::min);
            if least >= share { Ok(()) } else { Err(format!("{least} is done")) }
        });
        a_moment(Duration::from_millis(500));
    }

    fn finish(&mut self, name: &str) {
        self.running.get_mut(name).unwrap().finish();
    }

    fn ended(&mut self, name: &str) {
        let totals = self.running.remove(name).unwrap().ended().totals;
        assert_eq!((totals.0["e2e.calls"], totals.0["e2e.time#count"]), (CALLS, CALLS));
        self.recorded.insert(name.into(), totals);
    }
}

#[test]
fn totals_are_exact_whatever_is_killed() {
    let scene = Scene::new();
    let mut broker = scene.broker("broker", &[]);
    let mut worker = scene.worker(&[&broker]);
    let start = |name: &str| (name.to_string(), scene.application(name, &[&broker], PLAN));
    let running = ["ends-early", "ends-without-worker", "ends-alone", "ends-late"].map(start).into();
    let mut applications = Applications { running, recorded: BTreeMap::new() };
    // Librato is not at its best either.
    scene.endpoint.script("ok*3,lose,503,close,ok*3,lose,lose,429:1".parse::<Script>().unwrap());

    applications.reach(0.1);
    broker.kill(); // 1
    a_moment(DOWN);
    broker.start();

    applications.reach(0.2);
    worker.kill(); // 1
    applications.finish("ends-without-worker");
    applications.ended("ends-without-worker");
    worker.start();

    applications.reach(0.3);
    broker.kill(); // 2
    broker.start();
    applications.finish("ends-early");
    applications.ended("ends-early");

    applications.reach(0.45);
    // Librato stores, and the worker is killed before it knows.
    scene.endpoint.script("lose*3".parse::<Script>().unwrap());
    until("a lost answer", || if scene.endpoint.steps_left() < 3 { Ok(()) } else { Err("none".into()) });
    worker.kill(); // 2
    broker.kill(); // 3
    applications.finish("ends-alone");
    a_moment(DOWN);
    broker.start();
    applications.ended("ends-alone");
    // Its end is on the disk of the broker, which may go before the worker has come.
    broker.kill(); // 4
    worker.start();
    a_moment(DOWN);
    broker.start();

    applications.reach(0.7);
    worker.kill(); // 3
    a_moment(DOWN);
    worker.start();

    applications.reach(0.85);
    broker.kill(); // 5
    a_moment(DOWN);
    broker.start();

    applications.reach(0.95);
    applications.finish("ends-late");
    applications.ended("ends-late");
    scene.until_equal(&applications.recorded);

    // Nothing comes twice: neither with the last flush, nor when everything is asked for once more.
    worker.stop();
    scene.until_equal(&applications.recorded);
    broker.kill();
    broker.start();
    worker.start();
    scene.until_listening(&[&broker], &mut worker);
    worker.stop();
    scene.until_equal(&applications.recorded);
    assert!(scene.endpoint.overwritten() > 0, "no batch came twice, which is what this is about");
}
