//! Spans of the facade `tracing` are timed as its users would expect.
#![cfg(all(feature = "enable", feature = "tracing"))]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tracing::subscriber::with_default;
use tracing::{Level, Subscriber, debug_span, info_span, instrument};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::prelude::*;
use zibrato::bridge::BridgeError;
use zibrato::bridge::tracing::{Builder, Timed, layer};
use zibrato::testing::{Captured, FakeClock, capture};
use zibrato_core::frame::State;
use zibrato_core::registry::read;

fn subscriber(builder: Builder) -> impl Subscriber + Send + Sync {
    tracing_subscriber::registry().with(builder.build().expect("a layer"))
}

/// What `work` measures under a subscriber with this layer alone.
fn captured(builder: Builder, work: impl FnOnce()) -> Captured {
    capture(|| with_default(subscriber(builder), work)).1
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// How many durations all threads have recorded under this name.
fn recorded(name: &str) -> u64 {
    let count = |state: State| if let State::Spread(spread) = state { spread.histogram.count() } else { 0 };
    read().into_iter().filter(|r| &*r.id.name == name).map(|r| count(r.state)).sum()
}

#[test]
fn spans_are_timed_at_their_levels() {
    let clock = FakeClock::at(1 << 60);
    let _entered = clock.enter();
    let all = captured(layer().max_level(Level::TRACE), || {
        info_span!(target: "bt", "outer").in_scope(|| {
            clock.advance(ms(2));
            debug_span!(target: "bt", "inner").in_scope(|| clock.advance(ms(3)));
        });
        tracing::span!(target: "bt", Level::WARN, "outer").in_scope(|| clock.advance(ms(7)));
        tracing::trace_span!(target: "bt", "t").in_scope(|| ());
        tracing::error_span!(target: "bt", "e").in_scope(|| ());
        tracing::info!(target: "bt", "an event");
    });
    assert_eq!(all.at_level("info").time("bt::outer"), ms(5));
    assert_eq!(all.at_level("debug").time("bt::inner"), ms(3));
    assert_eq!(all.at_level("warn").time("bt::outer"), ms(7));
    assert_eq!(all.at_level("trace").recorded("bt::t"), 1);
    assert_eq!(all.at_level("error").recorded("bt::e"), 1);
    assert_eq!(all.names(), ["bt::e", "bt::inner", "bt::outer", "bt::t"]);
}

#[test]
fn rules_say_what_is_timed_and_at_which_level() {
    let builder = layer()
        .level("sqlx::*", "debug")
        .name_level("commit", "slow")
        .ignore("hyper::*")
        .ignore_name("poll")
        .default_level("app");
    let all = captured(builder, || {
        info_span!(target: "sqlx::query", "execute").in_scope(|| ());
        info_span!(target: "sqlx", "execute").in_scope(|| ());
        info_span!(target: "sqlx", "commit").in_scope(|| ());
        info_span!(target: "hyper::client", "connect").in_scope(|| ());
        info_span!(target: "sqlx", "poll").in_scope(|| ());
        info_span!(target: "shop", "buy").in_scope(|| ());
        debug_span!(target: "shop", "too verbose").in_scope(|| ());
    });
    assert_eq!(all.at_level("debug").names(), ["sqlx::execute", "sqlx::query::execute"]);
    assert_eq!(all.at_level("slow").names(), ["sqlx::commit"]);
    assert_eq!(all.at_level("app").names(), ["shop::buy"]);
    assert_eq!(all.names().len(), 4);
}

/// A layer that counts what it sees.
#[derive(Clone, Default)]
struct Seen(Arc<AtomicUsize>);

impl<S: Subscriber> Layer<S> for Seen {
    fn on_new_span(&self, _: &tracing::span::Attributes<'_>, _: &tracing::Id, _: Context<'_, S>) {
        self.0.fetch_add(1, Relaxed);
    }

    fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
        self.0.fetch_add(100, Relaxed);
    }
}

#[test]
fn other_layers_see_what_they_asked_for() {
    let (all, errors) = (Seen::default(), Seen::default());
    let subscriber = tracing_subscriber::registry()
        .with(errors.clone().with_filter(LevelFilter::ERROR))
        .with(layer().ignore("bt.noisy").build().unwrap())
        .with(all.clone().with_filter(LevelFilter::TRACE));
    let ((), captured) = capture(|| {
        with_default(subscriber, || {
            for _ in 0..2 {
                debug_span!(target: "bt.seen", "a").in_scope(|| ());
                info_span!(target: "bt.noisy", "b").in_scope(|| tracing::info!("event"));
                info_span!(target: "bt.seen", "c").in_scope(|| ());
            }
        });
    });
    assert_eq!(all.0.load(Relaxed), 206);
    assert_eq!(errors.0.load(Relaxed), 0);
    assert_eq!(captured.names(), ["bt.seen::c"]);
    assert_eq!(captured.recorded("bt.seen::c"), 2);
}

#[test]
fn it_goes_with_filters_of_others_and_without_its_own() {
    let filtered = tracing_subscriber::registry()
        .with(layer().build().unwrap().with_filter(LevelFilter::WARN))
        .with(Seen::default());
    let globally = tracing_subscriber::registry()
        .with(layer().ignore("b").build_unfiltered().unwrap())
        .with(LevelFilter::WARN);
    let work = || {
        info_span!(target: "bt.f", "a").in_scope(|| ());
        tracing::warn_span!(target: "bt.f", "b").in_scope(|| ());
        tracing::warn_span!(target: "b", "c").in_scope(|| ());
    };
    let ((), captured) = capture(|| with_default(filtered, work));
    assert_eq!(captured.names(), ["b::c", "bt.f::b"]);
    let ((), captured) = capture(|| with_default(globally, work));
    assert_eq!(captured.names(), ["bt.f::b"]);
}

#[test]
fn two_layers_of_one_subscriber_do_not_disturb_each_other() {
    let clock = FakeClock::at(1 << 60);
    let _entered = clock.enter();
    let subscriber = tracing_subscriber::registry()
        .with(layer().default_level("life").build().unwrap())
        .with(layer().default_level("busy").timed(Timed::Busy).build().unwrap());
    let ((), all) = capture(|| {
        with_default(subscriber, || {
            let span = info_span!(target: "bt.two", "a");
            clock.advance(ms(1));
            span.in_scope(|| clock.advance(ms(2)));
        });
    });
    assert_eq!(all.at_level("life").time("bt.two::a"), ms(3));
    assert_eq!(all.at_level("busy").time("bt.two::a"), ms(2));
}

/// A span that waits 1 ms, is entered for 2 and 4 ms with 8 ms between them, nested the second time, and closes
/// 16 ms later.
fn entered_twice(clock: &FakeClock) {
    let span = info_span!(target: "bt", "twice");
    clock.advance(ms(1));
    span.in_scope(|| clock.advance(ms(2)));
    clock.advance(ms(8));
    let copy = span.clone();
    span.in_scope(|| copy.in_scope(|| clock.advance(ms(4))));
    drop(span);
    clock.advance(ms(16));
    drop(copy);
}

#[test]
fn the_time_of_a_span_is_its_life_or_since_it_was_entered_or_while_it_was() {
    for (timed, expected) in [(Timed::Life, 31), (Timed::SinceEntered, 30), (Timed::Busy, 6)] {
        let clock = FakeClock::at(1 << 60);
        let _entered = clock.enter();
        let all = captured(layer().timed(timed), || entered_twice(&clock));
        assert_eq!((all.recorded("bt::twice"), all.time("bt::twice")), (1, ms(expected)), "{timed:?}");
    }
}

#[test]
fn a_span_that_was_never_entered_has_a_life_only() {
    for (timed, expected) in [(Timed::Life, 1), (Timed::SinceEntered, 0), (Timed::Busy, 0)] {
        let all = captured(layer().timed(timed), || drop(info_span!(target: "bt", "never entered")));
        assert_eq!(all.recorded("bt::never entered"), expected, "{timed:?}");
    }
}

#[test]
fn a_guard_that_outlives_nothing_is_recorded_until_the_close() {
    let clock = FakeClock::at(1 << 60);
    let _entered = clock.enter();
    let all = captured(layer().timed(Timed::Busy), || {
        let span = info_span!(target: "bt", "forgotten");
        std::mem::forget(span.enter());
        clock.advance(ms(5));
        drop(span);
    });
    assert_eq!(all.time("bt::forgotten"), ms(5));
}

#[test]
fn a_span_may_be_made_entered_and_closed_on_different_threads() {
    let subscriber = Arc::new(subscriber(layer().timed(Timed::Busy)));
    let span = with_default(subscriber.clone(), || info_span!(target: "bt", "travels"));
    let copies: Vec<_> = (0..4).map(|_| span.clone()).collect();
    std::thread::scope(|scope| {
        for copy in copies {
            scope.spawn(move || (0..100).for_each(|_| copy.in_scope(|| ())));
        }
    });
    assert_eq!(recorded("bt::travels"), 0);
    std::thread::spawn(move || drop(span)).join().unwrap();
    assert_eq!(recorded("bt::travels"), 1);
}

#[test]
fn every_span_of_many_threads_is_recorded_once() {
    let subscriber = Arc::new(subscriber(layer().tag_field("part")));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let subscriber = subscriber.clone();
            scope.spawn(move || {
                with_default(subscriber, || {
                    for part in 0..2_000 {
                        info_span!(target: "bt", "stress", part = part % 3)
                            .in_scope(|| info_span!(target: "bt", "stress inside").in_scope(|| ()));
                    }
                });
            });
        }
    });
    assert_eq!(recorded("bt::stress"), 16_000);
    assert_eq!(recorded("bt::stress inside"), 16_000);
}

#[test]
fn spans_that_outlive_their_subscriber_do_no_harm() {
    let ((), all) = capture(|| {
        let spans = with_default(subscriber(layer()), || {
            drop(info_span!(target: "bt.gone", "in time"));
            (info_span!(target: "bt.gone", "late"), info_span!(target: "bt.gone", "entered").entered())
        });
        drop(spans);
    });
    assert_eq!(all.recorded("bt.gone::in time"), 1);
}

#[test]
fn fields_become_tags_with_the_values_that_they_have_in_the_end() {
    let all = captured(layer().tag_field("route").tag_field("status").tag_field("ok"), || {
        let span =
            info_span!(target: "bt", "request", route = "/users", status = tracing::field::Empty, id = 7);
        span.record("status", 100);
        span.record("status", 200);
        span.record("ok", true);
        drop(span);
        drop(info_span!(target: "bt", "request", route = %"/items", status = 404, ok = false));
        drop(info_span!(target: "bt", "request", route = "", status = tracing::field::Empty));
        drop(info_span!(target: "bt", "request", route = "x".repeat(300)));
    });
    let request = |tag: &str, value: &str| all.with_tag(tag, value).recorded("bt::request");
    assert_eq!((request("route", "/users"), request("status", "200"), request("status", "100")), (1, 1, 0));
    assert_eq!((request("route", "/items"), request("status", "404"), request("ok", "false")), (1, 1, 1));
    assert_eq!((request("id", "7"), request("route", "")), (0, 0));
    assert_eq!(all.recorded("bt::request"), 3);
    assert_eq!(all.recorded("zibrato.bad_name"), 1, "a tag has at most 255 bytes");
}

#[test]
fn a_value_that_is_formatted_may_itself_record() {
    struct Nosy;
    impl std::fmt::Debug for Nosy {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            tracing::Span::current().record("status", 1);
            f.write_str("nosy")
        }
    }
    let all = captured(layer().tag_field("route").tag_field("status"), || {
        let span = info_span!(target: "bt", "nosy", route = tracing::field::Empty, status = 0);
        span.in_scope(|| tracing::Span::current().record("route", tracing::field::debug(Nosy)).is_none());
    });
    assert_eq!(all.with_tag("route", "nosy").with_tag("status", "1").recorded("bt::nosy"), 1);
}

#[test]
fn what_cannot_be_is_told_when_it_is_built() {
    let many = (0..17).fold(layer(), |layer, i| layer.tag_field(&format!("f{i}")));
    assert_eq!(many.build_unfiltered().unwrap_err(), BridgeError::TooManyTags { limit: 16 });
    assert!(matches!(layer().tag_field("").build_unfiltered(), Err(BridgeError::Field { .. })));
    assert!(matches!(layer().default_level("beat").build_unfiltered(), Err(BridgeError::Level { .. })));
}

#[test]
fn events_are_counted_by_level_and_target_if_wanted() {
    let builder = layer().count_events().ignore("bt.noisy").level("bt.quiet", "debug");
    let all = captured(builder, || {
        for _ in 0..3 {
            tracing::warn!(target: "bt.events", "careful");
        }
        tracing::info!(target: "bt.events", "done");
        tracing::error!(target: "bt.quiet", "wrong");
        tracing::error!(target: "bt.noisy", "wrong");
        tracing::debug!(target: "bt.events", "too verbose");
    });
    let events =
        |level: &str| all.with_tag("level", level).with_tag("target", "bt.events").count("log.events");
    assert_eq!((events("warn"), events("info")), (3, 1));
    assert_eq!(all.at_level("warn").count("log.events"), 3);
    assert_eq!(all.at_level("debug").with_tag("level", "error").count("log.events"), 1);
    assert_eq!(all.count("log.events"), 5);
}

#[instrument(target = "bt", skip_all, fields(route = %route))]
async fn handle(route: &str) -> usize {
    tokio::task::yield_now().await;
    work(route.len())
}

#[instrument(target = "bt", level = "debug")]
fn work(n: usize) -> usize {
    n * 2
}

#[test]
fn instrumented_functions_and_futures_are_timed_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let all = captured(layer().max_level(Level::DEBUG).tag_field("route"), || {
        assert_eq!(runtime.block_on(handle("/a")), 4);
        // Dropped half-way.
        assert!(runtime.block_on(async { futures::poll!(std::pin::pin!(handle("/b"))).is_pending() }));
        // Never polled.
        drop(handle("/c"));
    });
    assert_eq!(all.with_tag("route", "/a").recorded("bt::handle"), 1);
    assert_eq!(all.with_tag("route", "/b").recorded("bt::handle"), 1);
    assert_eq!(all.recorded("bt::handle"), 2);
    assert_eq!(all.at_level("debug").recorded("bt::work"), 1);
}

#[test]
fn a_span_that_a_panic_closes_is_recorded() {
    let all = captured(layer(), || {
        let result =
            std::panic::catch_unwind(|| info_span!(target: "bt", "panics").in_scope(|| panic!("on purpose")));
        assert!(result.is_err());
    });
    assert_eq!(all.recorded("bt::panics"), 1);
}
