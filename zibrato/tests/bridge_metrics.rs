//! What is measured through the facade `metrics` is what its users would expect, in Zibrato's terms.
#![cfg(all(feature = "enable", feature = "metrics"))]

use std::time::Duration;

use metrics::{Unit, counter, gauge, histogram, with_local_recorder};
use zibrato::bridge::BridgeError;
use zibrato::bridge::metrics::{Recorder, recorder};
use zibrato::testing::{Captured, FakeClock, capture};
use zibrato_core::clock;
use zibrato_core::frame::{Kind, State};
use zibrato_core::registry::{Reading, read, take_retired};

fn plain() -> Recorder {
    recorder().build().expect("a recorder")
}

/// What `work` measures through a recorder of its own.
fn captured(work: impl FnOnce()) -> Captured {
    captured_by(&plain(), work)
}

fn captured_by(recorder: &Recorder, work: impl FnOnce()) -> Captured {
    capture(|| with_local_recorder(recorder, work)).1
}

/// What all threads have counted under this name.
fn total(name: &str) -> i64 {
    let total = |reading: &Reading| match &reading.state {
        State::Total(total) if &*reading.id.name == name => total.whole,
        _ => 0,
    };
    read().iter().map(total).sum()
}

#[test]
fn counters_gauges_and_histograms_arrive_with_their_labels() {
    let all = captured(|| {
        for method in ["GET", "PUT", "GET"] {
            counter!("bm.requests", "method" => method, "host" => "a".to_string()).increment(2);
        }
        let open = gauge!("bm.open");
        open.set(5);
        open.increment(2.5);
        open.decrement(1);
        histogram!("bm.size").record(512);
        histogram!("bm.size").record_many(0.5, 4);
        histogram!("bm.latency").record(Duration::from_millis(250));
    });
    assert_eq!(all.with_tag("method", "GET").with_tag("host", "a").count("bm.requests"), 4);
    assert_eq!(all.with_tag("method", "PUT").count("bm.requests"), 2);
    assert_eq!(all.at_level("info").count("bm.requests"), 6);
    assert_eq!(all.gauge("bm.open"), Some(6.5));
    assert_eq!((all.recorded("bm.size"), all.sum("bm.size")), (5, 514.0));
    assert_eq!((all.recorded("bm.latency"), all.sum("bm.latency")), (1, 0.25));
}

#[test]
fn an_absolute_counter_never_goes_back() {
    let all = captured(|| {
        let bytes = counter!("bm.absolute");
        [10, 7, 40, 40, 12].into_iter().for_each(|value| bytes.absolute(value));
        counter!("bm.absolute").absolute(41);
    });
    assert_eq!(all.count("bm.absolute"), 41);
    let again = captured(|| counter!("bm.absolute").absolute(5));
    assert_eq!(again.count("bm.absolute"), 5, "another recorder begins at zero");
}

#[test]
fn threads_that_set_one_counter_agree_on_the_highest() {
    let recorder = plain();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let recorder = &recorder;
            scope.spawn(move || {
                with_local_recorder(recorder, || {
                    (0..1000).for_each(|i| counter!("bm.highest", "a" => "b").absolute(i * 8 + thread));
                });
            });
        }
    });
    assert_eq!(total("bm.highest"), 7999);
}

#[test]
fn levels_go_by_target_and_name_and_else_by_what_the_call_says() {
    let recorder = recorder()
        .level("hyper::*", "debug")
        .name_level("bm.db.*", "trace")
        .ignore("noisy")
        .ignore_name("bm.db.secret")
        .build()
        .unwrap();
    let all = captured_by(&recorder, || {
        counter!(target: "hyper::client", "bm.calls").increment(1);
        counter!(target: "hyper", "bm.calls").increment(10);
        counter!(target: "app", "bm.calls").increment(100);
        counter!(target: "app", level: metrics::Level::ERROR, "bm.calls").increment(1000);
        counter!(target: "hyper::client", "bm.db.queries").increment(1);
        counter!("bm.db.secret").increment(1);
        counter!("bm.db.secret").absolute(7);
        counter!(target: "noisy", "bm.calls").increment(1);
        gauge!(target: "noisy", "bm.depth").set(1);
        histogram!(target: "noisy", "bm.depths").record(1);
    });
    assert_eq!(all.at_level("debug").count("bm.calls"), 11);
    assert_eq!(all.at_level("info").count("bm.calls"), 100);
    assert_eq!(all.at_level("error").count("bm.calls"), 1000);
    assert_eq!(all.at_level("trace").count("bm.db.queries"), 1);
    assert_eq!(all.names(), ["bm.calls", "bm.db.queries"]);

    let one = zibrato::bridge::metrics::recorder().default_level("bulk").build().unwrap();
    let all = captured_by(&one, || counter!(level: metrics::Level::ERROR, "bm.calls").increment(1));
    assert_eq!(all.at_level("bulk").count("bm.calls"), 1);
}

#[test]
fn a_level_that_cannot_be_used_is_told_when_it_is_built() {
    let why = recorder().level("a", "x|y").build().unwrap_err();
    assert!(matches!(&why, BridgeError::Level { label, .. } if label == "x|y"), "{why}");
}

#[test]
fn labels_that_metrics_allows_make_no_trouble() {
    let all = captured(|| {
        counter!("bm.twice", "a" => "1", "a" => "2").increment(1);
        counter!("bm.empty", "a" => "", "b" => "x").increment(1);
    });
    assert_eq!(all.with_tag("a", "2").count("bm.twice"), 1, "the last one stays");
    assert_eq!(all.with_tag("b", "x").count("bm.empty"), 1, "an empty value is no label");
}

#[test]
fn what_cannot_be_measured_is_counted() {
    let many: Vec<_> = (0..17).map(|i| (format!("tag{i}"), "x".to_string())).collect();
    let all = captured(|| {
        counter!("").increment(1);
        counter!("bm.many", &many[..]).increment(2);
        counter!("bm.long", "a" => "x".repeat(256)).increment(4);
        counter!("bm.control\n").increment(8);
        counter!("bm.label", "" => "x").increment(16);
        gauge!("bm.gauge").set(f64::NAN);
        histogram!("bm.histogram").record(f64::INFINITY);
        histogram!("").record(1);
    });
    assert_eq!(all.count("zibrato.bad_name"), 31);
    assert_eq!(all.recorded("zibrato.bad_name"), 1);
    assert_eq!(all.gauge("bm.gauge"), None);
    assert_eq!(all.recorded("bm.histogram"), 0);
    assert!(zibrato::status().bad_names);
    assert!(total("zibrato.refused") >= 2);
}

#[test]
fn every_increment_through_the_macro_counts() {
    let recorder = plain();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                with_local_recorder(&recorder, || {
                    for i in 0..100_000u32 {
                        counter!("bm.stress", "half" => if i % 2 == 0 { "a" } else { "b" }).increment(1);
                    }
                });
            });
        }
    });
    assert_eq!(total("bm.stress"), 800_000);
}

#[test]
fn a_handle_may_be_shared_by_threads() {
    let (counter, histogram) =
        with_local_recorder(&plain(), || (counter!("bm.shared"), histogram!("bm.shared_sizes")));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                (0..10_000).for_each(|_| counter.increment(1));
                histogram.record(2);
            });
        }
    });
    assert_eq!(total("bm.shared"), 40_000);
}

#[test]
fn more_metrics_than_a_thread_remembers_are_all_counted() {
    let recorder = plain();
    let all = captured_by(&recorder, || {
        for round in 0..3 {
            for i in 0..9000 {
                counter!("bm.wide", "i" => i.to_string()).increment(round);
            }
        }
    });
    assert_eq!(all.count("bm.wide"), 27_000);
}

#[test]
fn what_nobody_asks_for_any_more_can_be_retired() {
    // In the future of all other threads, which have looked already.
    let clock = FakeClock::at(clock::nanos() + 86_400_000_000_000);
    let _entered = clock.enter();
    let recorder = plain();
    with_local_recorder(&recorder, || {
        counter!("bm.idle").increment(3);
        zibrato::counter("bm.idle").handle().retire();
        let is_gone = || {
            read();
            take_retired().iter().any(|reading| &*reading.id.name == "bm.idle")
        };
        assert!(!is_gone(), "this thread may ask again");
        for minute in 0..3 {
            clock.advance(Duration::from_secs(61));
            // Any call that meets something new looks whether there is something to forget.
            counter!(format!("bm.minute{minute}")).increment(1);
        }
        assert!(is_gone());
        counter!("bm.idle").increment(4);
    });
    assert_eq!(total("bm.idle"), 4, "what was before has been delivered");
}

#[test]
fn a_thread_that_ends_still_counts() {
    struct AtEnd;
    impl Drop for AtEnd {
        fn drop(&mut self) {
            with_local_recorder(&plain(), || counter!("bm.at_end").increment(1));
        }
    }
    thread_local!(static AT_END: AtEnd = const { AtEnd });
    for asks_first in [false, true] {
        let work = move || {
            if asks_first {
                with_local_recorder(&plain(), || counter!("bm.at_end").increment(1));
            }
            AT_END.with(|_| ());
            with_local_recorder(&plain(), || counter!("bm.at_end").increment(1));
        };
        std::thread::spawn(work).join().unwrap();
    }
    assert_eq!(total("bm.at_end"), 5);
}

/// The unit, help and birth of a description.
fn description(name: &str) -> Option<(String, String, u64)> {
    read().into_iter().find(|r| r.id.kind == Kind::Description && &*r.id.name == name).and_then(|reading| {
        match reading.state {
            State::Description(d) => Some((d.unit.to_string(), d.help.to_string(), reading.born)),
            _ => None,
        }
    })
}

#[test]
fn units_and_descriptions_are_told_once() {
    with_local_recorder(&plain(), || {
        metrics::describe_histogram!("bm.described", Unit::Seconds, "How long it took.");
        histogram!("bm.described").record(1);
        metrics::describe_counter!("bm.bytes", Unit::Kibibytes, "Sent.");
        counter!("bm.bytes").increment(1);
        let (unit, help, born) = description("bm.described").unwrap();
        assert_eq!((&*unit, &*help), ("s", "How long it took."));
        assert_eq!(description("bm.bytes").unwrap().0, "KiBy");
        for _ in 0..3 {
            histogram!(description: "How long it took.", unit: Unit::Seconds, "bm.described").record(1);
        }
        assert_eq!(description("bm.described"), Some((unit, help, born)));
        metrics::describe_histogram!("bm.described", Unit::Milliseconds, "How long it took now.");
        assert_eq!(description("bm.described").unwrap().0, "ms");
    });
}

#[test]
fn there_is_one_recorder_for_the_program() {
    recorder().default_level("global").install().unwrap();
    let ((), all) = capture(|| counter!("bm.global").increment(1));
    assert_eq!(all.at_level("global").count("bm.global"), 1);
    assert_eq!(recorder().install(), Err(BridgeError::AlreadyInstalled));
    let local = captured(|| counter!("bm.global").increment(1));
    assert_eq!(local.at_level("info").count("bm.global"), 1, "a local recorder comes first");
}

#[test]
fn a_library_that_reports_to_metrics_reports_here() {
    let recorder = recorder().level("tokio_metrics::*", "debug").build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let monitor = tokio_metrics::TaskMonitor::new();
    let all = captured_by(&recorder, || {
        let mut reporter = tokio_metrics::TaskMetricsReporterBuilder::new(|name| {
            metrics::Key::from_parts(name.to_string(), &[("task", "mail")])
        })
        .describe()
        .build_with_monitor(monitor.clone());
        runtime.block_on(async {
            for _ in 0..3 {
                monitor.instrument(tokio::task::yield_now()).await;
            }
        });
        reporter.run_once();
    });
    let all = all.at_level("debug").with_tag("task", "mail");
    let polls = all.names().into_iter().find(|name| name.ends_with("total_poll_count")).unwrap();
    assert_eq!(all.gauge(polls), Some(6.0));
    assert_eq!(description(polls).unwrap().0, "1");
}
