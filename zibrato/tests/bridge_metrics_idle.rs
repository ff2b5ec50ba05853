//! Metrics that come through `metrics` leave memory when nobody asks for them any more, and their totals do not get
//! lost. In a program of its own, because the idle time is the program's.
#![cfg(all(feature = "enable", feature = "metrics"))]

use std::time::Duration;

use metrics::{counter, with_local_recorder};
use zibrato::bridge::metrics::recorder;
use zibrato::testing::FakeClock;
use zibrato_core::clock;
use zibrato_core::frame::State;
use zibrato_core::registry::{Reading, census, read, set_idle, take_retired};

fn totals(name: &str, readings: Vec<Reading>) -> Vec<i64> {
    let total = |reading: Reading| match reading.state {
        State::Total(total) if &*reading.id.name == name => Some(total.whole),
        _ => None,
    };
    readings.into_iter().filter_map(total).collect()
}

#[test]
fn idle_metrics_leave_memory_with_their_totals_delivered() {
    set_idle(Some(Duration::from_secs(30)));
    let clock = FakeClock::at(clock::nanos());
    let _entered = clock.enter();
    let recorder = recorder().build().unwrap();
    with_local_recorder(&recorder, || {
        let held = counter!("idle.held");
        counter!("idle.absolute").absolute(7);
        for customer in 0..1000 {
            counter!("idle.customers", "customer" => customer.to_string()).increment(2);
        }
        let before = census().metrics;
        // Nothing is met that is new: it is enough that something is asked for now and then.
        for _ in 0..6 {
            clock.advance(Duration::from_secs(31));
            (0..5000).for_each(|_| counter!("idle.busy").increment(1));
            read();
        }
        assert_eq!(census().metrics, before - 1000 + 1);
        assert_eq!(totals("idle.customers", take_retired()).iter().sum::<i64>(), 2000);
        assert_eq!(totals("idle.busy", read()), [30_000]);

        held.increment(1);
        counter!("idle.absolute").absolute(9);
        counter!("idle.customers", "customer" => "0").increment(5);
        assert_eq!(totals("idle.held", read()), [1], "somebody holds it");
        assert_eq!(totals("idle.absolute", read()), [9], "it goes on where it was");
        assert_eq!(totals("idle.customers", read()), [5], "what was before has been delivered");
    });
}
