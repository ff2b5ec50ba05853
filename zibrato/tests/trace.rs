//! Metrics that are marked for tracing, with a real broker at the other end.

mod support;

use std::sync::Arc;
use std::time::Duration;

use support::{TestBroker, wait_until};
use zibrato::{count, count_me, time_me};
use zibrato_core::trace::{Event, Hop, Verdict};

#[count_me(name = "trace.attribute", trace)]
fn by_attribute() {}

#[time_me(name = "trace.timer", trace, outcome)]
fn by_timer() -> Result<(), ()> {
    Ok(())
}

#[time_me(name = "trace.future", trace)]
async fn by_future() {}

#[time_me(name = "trace.sampled", sample = 1, trace)]
fn by_sampled() {}

#[count_me(name = "trace.unmarked")]
fn unmarked() {}

fn published(broker: &TestBroker) -> Vec<Arc<Event>> {
    let rows = broker.frames().into_iter().flat_map(|(_, frame)| frame.rows);
    let mut events: Vec<_> =
        rows.filter_map(|row| row.event).filter(|event| event.hop == Hop::Published).collect();
    events.sort_by_key(|event| (event.mark.number, event.time));
    events
}

#[test]
fn whatever_is_marked_is_told_of_when_it_changes() {
    let broker = TestBroker::start();
    let install = zibrato::builder().broker(&broker.url).source("me").interval(Duration::from_millis(20));
    let guard = install.trace("trace.pattern.*").install().unwrap();
    by_attribute();
    by_timer().unwrap();
    by_sampled();
    unmarked();
    count!(level = "debug", tags("a" = "b"), trace, "trace.macro", 7);
    {
        let _timing = zibrato::time!(ordered, trace, "trace.guard");
    }
    zibrato::gauge!(trace, source = "there", "trace.gauge", -2.5);
    let handle = zibrato::counter("trace.handle").trace().handle();
    handle.add(2.5);
    zibrato::counter("trace.pattern.a").handle().add(1);
    assert!(guard.flush(Duration::from_secs(10)));
    let of = |name: &str| -> Vec<_> {
        published(&broker).into_iter().filter(|event| &*event.mark.key.name == name).collect()
    };
    wait_until("the event of the first set", || of("trace.handle").len() == 1);
    handle.add(1);
    wait_until("the event of the second set", || of("trace.handle").len() == 2);
    drop(by_future());
    tokio::runtime::Runtime::new().unwrap().block_on(by_future());
    drop(guard);

    let value = |name: &str| {
        let events = of(name);
        let [event] = &events[..] else { panic!("{name}: {events:#?}") };
        assert_eq!((event.verdict, &*event.by), (Verdict::Ok, "me"));
        (event.mark.total.value(), event.mark.count)
    };
    assert_eq!(value("trace.attribute"), (1.0, None));
    assert_eq!(value("trace.timer").1, Some(1));
    assert_eq!(value("trace.guard").1, Some(1));
    assert_eq!(value("trace.future").1, Some(1), "of the last set");
    assert_eq!(value("trace.sampled").1, Some(1));
    assert_eq!(value("trace.sampled.calls"), (1.0, None));
    assert_eq!(value("trace.gauge"), (-2.5, None));
    assert_eq!(value("trace.macro"), (7.0, None));
    let marked = of("trace.macro").remove(0);
    assert_eq!((&*marked.mark.level, marked.mark.key.tags.to_string()), ("debug", "a=b".into()));
    assert_eq!(&*of("trace.gauge")[0].mark.key.source, "there");
    assert_eq!(of("trace.timer")[0].mark.key.tags.to_string(), "outcome=ok");
    assert_eq!(value("trace.pattern.a"), (1.0, None));
    assert_eq!(of("trace.unmarked").len(), 0);
    let handle = of("trace.handle");
    assert_eq!(handle.iter().map(|event| event.mark.total.value()).collect::<Vec<_>>(), [2.5, 3.5]);
    assert!(handle[0].mark.sequence < handle[1].mark.sequence && handle[0].time < handle[1].time);
    let mut numbers: Vec<u64> = published(&broker).iter().map(|event| event.mark.number).collect();
    let count = numbers.len() as u64;
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=count).collect::<Vec<_>>(), "each row has a number of its own");
}
