//! What is published is what is said to be measured.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::collections::BTreeMap;

use zibrato_core::frame::{Flags, InstanceId, State, decode};
use zibrato_transport::{Event, Subscriber};
use zibrato_trial::{SOURCE, Traffic, until};

/// The newest state of every metric of every instance, and which instances have ended.
#[derive(Default)]
struct Heard {
    states: BTreeMap<(InstanceId, String), State>,
    ended: Vec<InstanceId>,
}

impl Heard {
    fn total(&self, name: &str) -> i64 {
        let own = self.states.iter().filter(|((_, own), _)| own == name);
        own.map(|(_, state)| if let State::Total(total) = state { total.whole } else { panic!("{state:?}") })
            .sum()
    }

    fn spread(&self, name: &str) -> (u64, f64) {
        let own = self.states.iter().filter(|((_, own), _)| own == name).map(|(_, state)| match state {
            State::Spread(spread) => (spread.histogram.count(), spread.sum.value()),
            other => panic!("{other:?}"),
        });
        own.fold((0, 0.0), |all, one| (all.0 + one.0, all.1 + one.1))
    }
}

#[test]
fn totals_are_what_all_instances_publish() {
    let traffic = Traffic::start();
    let (tell, told) = std::sync::mpsc::channel();
    let broker = traffic.broker().parse().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut subscriber = Subscriber::start(&[broker], &["info|".to_owned()]);
            while tell.send(subscriber.recv().await).is_ok() {}
        });
    });
    let mut heard = Heard::default();
    let listen = |heard: &mut Heard| {
        for event in told.try_iter() {
            let Event::Message { frame, .. } = event else { continue };
            let decoded = decode(&frame).unwrap();
            let head = decoded.frame.head;
            if head.flags.has(Flags::LAST) {
                heard.ended.push(head.instance);
            }
            for row in decoded.frame.rows {
                assert_eq!(row.key.tags.get("code").is_some(), &*row.key.name == "trial.hits");
                heard.states.insert((head.instance, row.key.name.to_string()), row.state);
            }
        }
        (
            heard.total("trial.requests"),
            heard.total("trial.hits"),
            heard.total("trial.users"),
            heard.ended.len(),
        )
    };
    traffic.until_heard(|| {
        listen(&mut heard);
        heard
            .states
            .keys()
            .any(|(_, name)| name == "trial.probe")
            .then_some(())
            .ok_or_else(|| "nothing".to_owned())
    });

    let (mut one, mut two) = (traffic.instance(SOURCE), traffic.instance(SOURCE));
    (0..5).for_each(|_| one.measure());
    one.end();
    (0..4).for_each(|_| two.measure());
    let totals = traffic.totals();
    assert_eq!((totals.requests(), totals.hits(), totals.users), (63, 27, 8 + 5));
    assert_eq!((totals.latencies.len(), totals.sizes.len()), (90, 90));
    until("all is heard", || {
        one.publish();
        two.publish();
        let now = listen(&mut heard);
        let wanted = (totals.requests(), totals.hits(), totals.users);
        ((now.0, now.1, now.2) == wanted && now.3 > 0).then_some(()).ok_or_else(|| format!("{now:?}"))
    });
    assert_eq!(heard.spread("trial.latency"), (90, totals.latency_sum() as f64));
    assert_eq!(heard.spread("trial.sizes"), (90, totals.size_sum()));
    heard.ended.dedup();
    assert_eq!(heard.ended.len(), 1);
    assert!(totals.latency_quantile(0.5) < totals.latency_quantile(0.99));
}
