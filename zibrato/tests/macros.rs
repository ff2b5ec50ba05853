//! What `#[time_me]` and `#[count_me]` record, in code that allows itself no warning.
#![deny(warnings, clippy::all, clippy::pedantic)]
#![forbid(unsafe_code)]
#![allow(clippy::unused_async)]

use std::future::{Future, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use zibrato::testing::{Captured, FakeClock, capture};
use zibrato::{count_me, time, time_me};

const SECOND: Duration = Duration::from_secs(1);

/// What `work` measures, also when it panics.
fn measured<R>(work: impl FnOnce() -> R) -> Captured {
    capture(|| catch_unwind(AssertUnwindSafe(work)).is_ok()).1
}

/// How many durations a timer has of each outcome: ok, error, panicked, cancelled.
fn timed_outcomes(captured: &Captured, name: &str) -> [u64; 4] {
    ["ok", "error", "panicked", "cancelled"].map(|word| captured.with_tag("outcome", word).recorded(name))
}

fn counted_outcomes(captured: &Captured, name: &str) -> [i64; 4] {
    ["ok", "error", "panicked", "cancelled"].map(|word| captured.with_tag("outcome", word).count(name))
}

fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = poll_once(future.as_mut()) {
            return value;
        }
    }
}

async fn pending_once() {
    let mut polled = false;
    poll_fn(move |_| if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending })
        .await;
}

#[time_me]
fn timed(clock: &FakeClock) {
    clock.advance(SECOND);
}

#[count_me]
fn counted() {}

#[test]
fn default_name_is_module_and_function() {
    let clock = FakeClock::at(1);
    let _entered = clock.enter();
    let captured = measured(|| {
        timed(&clock);
        timed(&clock);
        counted();
    });
    assert_eq!(captured.names(), ["macros::counted", "macros::timed"]);
    assert_eq!(captured.recorded("macros::timed"), 2);
    assert_eq!(captured.time("macros::timed"), 2 * SECOND);
    assert_eq!(captured.count("macros::counted"), 1);
    assert_eq!(captured.at_level("info").names().len(), 2);
}

#[time_me(level = "debug", name = "all.timer", source = "elsewhere", tags(zone = "eu", "a-b" = "c"), outcome)]
#[count_me(level = "debug", name = "all.counter", source = "elsewhere", tags(type = "x"), value = 5)]
fn all_options() {}

#[test]
fn options_reach_the_metric() {
    let captured = measured(all_options).at_level("debug");
    assert_eq!(captured.names(), ["all.counter", "all.timer"]);
    assert_eq!(
        captured.with_tag("zone", "eu").with_tag("a-b", "c").with_tag("outcome", "ok").recorded("all.timer"),
        1
    );
    assert_eq!(captured.with_tag("type", "x").count("all.counter"), 5);
}

#[count_me(name = "values", value = 0)]
#[count_me(name = "values.half", value = 0.5)]
#[count_me(name = "values.down", value = -3)]
#[count_me(name = "values.float_down", value = -0.25)]
#[count_me(name = "values.arguments", value = items.len())]
#[count_me(name = "values.float", value = factor * 2.0)]
#[count_me(name = "values.negative", value = -1 - 1)]
fn values(items: Vec<u8>, factor: f32) {
    drop((items, factor));
}

#[test]
fn values_are_added() {
    let captured = measured(|| values(vec![1, 2, 3], 1.25));
    let value = |name: &str| captured.value(name).to_string();
    assert_eq!(value("values"), "0");
    assert_eq!(value("values.half"), "0.5");
    assert_eq!(value("values.down"), "-3");
    assert_eq!(value("values.float_down"), "-0.25");
    assert_eq!(value("values.arguments"), "3");
    assert_eq!(value("values.float"), "2.5");
    assert_eq!(value("values.negative"), "0", "a counter refuses to fall");
}

#[time_me]
#[time_me(name = "result.timer", outcome)]
#[count_me(name = "result.counter", outcome, value = 2)]
fn result(text: &str) -> Result<u32, Box<dyn std::error::Error>> {
    if text == "early" {
        return Ok(0);
    }
    assert!(text != "panic", "on purpose");
    Ok(text.parse::<u32>()? + 1)
}

#[test]
fn every_end_is_recorded_with_its_outcome() {
    let captured = measured(|| {
        assert!(result("early").is_ok());
        assert!(result("1").is_ok());
        assert!(result("x").is_err());
        result("panic")
    });
    assert_eq!(captured.recorded("macros::result"), 4);
    assert_eq!(timed_outcomes(&captured, "result.timer"), [2, 1, 1, 0]);
    assert_eq!(counted_outcomes(&captured, "result.counter"), [4, 2, 2, 0]);
}

#[time_me]
#[time_me(name = "never.outcome", outcome)]
fn never() -> ! {
    panic!("on purpose")
}

#[test]
fn function_that_never_returns_is_timed_when_it_unwinds() {
    let captured = measured(|| never());
    assert_eq!(captured.recorded("macros::never"), 1);
    assert_eq!(timed_outcomes(&captured, "never.outcome"), [0, 0, 1, 0]);
}

#[time_me(outcome)]
#[count_me(name = "generic.calls")]
fn generic<T: std::fmt::Debug, const N: usize>(items: [T; N]) -> Option<impl std::fmt::Debug> {
    items.into_iter().next()
}

#[test]
fn generic_function_is_one_metric() {
    let captured = measured(|| (generic([1, 2]), generic(["a"]), generic::<(), 0>([])));
    assert_eq!(timed_outcomes(&captured, "macros::generic"), [3, 0, 0, 0]);
    assert_eq!(captured.count("generic.calls"), 3);
}

struct Stock {
    items: Vec<u32>,
}

impl Stock {
    #[time_me(outcome)]
    fn last(&mut self) -> Option<&mut u32> {
        if self.items.is_empty() {
            return None;
        }
        self.items.last_mut()
    }

    #[time_me(outcome)]
    async fn fetch(&mut self) -> Result<&mut u32, String> {
        pending_once().await;
        self.items.first_mut().ok_or_else(|| "empty".into())
    }
}

#[test]
fn method_may_return_what_it_borrows() {
    let mut stock = Stock { items: vec![1] };
    let captured = measured(|| {
        *stock.last().unwrap() += 1;
        *run(stock.fetch()).unwrap() += 1;
        stock.items[0]
    });
    assert_eq!(timed_outcomes(&captured, "macros::last"), [1, 0, 0, 0]);
    assert_eq!(timed_outcomes(&captured, "macros::fetch"), [1, 0, 0, 0]);
    assert_eq!(stock.items, [3]);
}

#[time_me]
#[time_me(name = "future.outcome", outcome)]
#[count_me(name = "future.calls")]
#[count_me(name = "future.ends", outcome)]
async fn future(text: &str) -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
    pending_once().await;
    assert!(text != "panic", "on purpose");
    Ok(text.parse()?)
}

#[test]
fn future_is_timed_from_first_poll_to_completion() {
    let clock = FakeClock::at(1);
    let _entered = clock.enter();
    let captured = measured(|| {
        let mut future = Box::pin(future("1"));
        clock.advance(SECOND);
        assert!(poll_once(future.as_mut()).is_pending());
        clock.advance(2 * SECOND);
        assert!(poll_once(future.as_mut()).is_ready());
        clock.advance(4 * SECOND);
        drop(future);
    });
    for name in ["macros::future", "future.outcome"] {
        assert_eq!((captured.recorded(name), captured.time(name)), (1, 2 * SECOND), "{name}");
    }
}

#[test]
fn future_is_counted_at_its_first_poll() {
    let captured = measured(|| {
        drop(future("never polled"));
        let mut polled = Box::pin(future("1"));
        assert!(poll_once(polled.as_mut()).is_pending());
        std::mem::forget(polled);
    });
    assert_eq!(captured.names(), ["future.calls"]);
    assert_eq!(captured.count("future.calls"), 1);
}

#[test]
fn future_tells_how_it_ended() {
    let captured = measured(|| {
        assert!(run(future("1")).is_ok());
        assert!(run(future("x")).is_err());
        assert!(poll_once(Box::pin(future("dropped")).as_mut()).is_pending());
        run(future("panic"))
    });
    assert_eq!(captured.recorded("macros::future"), 3);
    assert_eq!(captured.count("macros::future.cancelled"), 1);
    assert_eq!(timed_outcomes(&captured, "future.outcome"), [1, 1, 1, 1]);
    assert_eq!(counted_outcomes(&captured, "future.ends"), [1, 1, 1, 1]);
    assert_eq!(captured.count("future.calls"), 4);
}

#[time_me]
async fn serves() -> ! {
    loop {
        pending_once().await;
    }
}

#[test]
fn endless_future_is_cancelled() {
    let captured = measured(|| poll_once(pin!(serves())).is_pending());
    assert_eq!(captured.count("macros::serves.cancelled"), 1);
    assert_eq!(captured.recorded("macros::serves"), 0);
}

#[async_trait]
trait Service: Sync {
    async fn call(&mut self, request: String) -> Result<u32, std::num::ParseIntError>;

    #[time_me(name = "service.default")]
    async fn by_default(&self) {
        pending_once().await;
    }
}

#[async_trait]
impl Service for Stock {
    #[time_me(name = "service.time", outcome)]
    #[count_me(name = "service.bytes", value = request.len())]
    async fn call(&mut self, request: String) -> Result<u32, std::num::ParseIntError> {
        pending_once().await;
        self.items.push(request.parse()?);
        Ok(self.items[0])
    }
}

#[test]
fn async_trait_method_is_measured_at_its_future() {
    let clock = FakeClock::at(1);
    let _entered = clock.enter();
    let captured = measured(|| {
        let service: &mut dyn Service = &mut Stock { items: Vec::new() };
        let mut call = service.call("17".into());
        assert!(poll_once(call.as_mut()).is_pending());
        clock.advance(SECOND);
        assert!(run(call).is_ok());
        drop(service.call("never polled".into()));
        assert!(run(service.call("x".into())).is_err());
        assert!(poll_once(service.call("8".into()).as_mut()).is_pending());
        run(service.by_default());
    });
    assert_eq!(timed_outcomes(&captured, "service.time"), [1, 1, 0, 1]);
    assert_eq!(captured.time("service.time"), SECOND);
    assert_eq!(captured.count("service.bytes"), 4);
    assert_eq!(captured.recorded("service.default"), 1);
}

#[time_me]
#[count_me(name = "returned.value", value = n)]
fn returned(n: u32) -> impl Future<Output = u32> + Send {
    let twice = n * 2;
    async move {
        pending_once().await;
        twice
    }
}

#[time_me(outcome)]
fn ready_made(early: bool) -> impl Future<Output = Result<u32, ()>> {
    if early {
        return ready(Err(()));
    }
    ready(Ok(1))
}

#[time_me]
fn boxed(early: bool) -> Pin<Box<dyn Future<Output = u32> + Send>> {
    if early {
        return Box::pin(ready(1));
    }
    Box::pin(async move {
        pending_once().await;
        2
    })
}

#[test]
fn returned_future_is_measured_not_its_making() {
    let captured = measured(|| {
        drop((returned(1), ready_made(true), boxed(false)));
        run(returned(3));
        let _ = (run(ready_made(true)), run(ready_made(false)));
        (run(boxed(true)), run(boxed(false)))
    });
    assert_eq!(captured.recorded("macros::returned"), 1);
    assert_eq!(captured.count("returned.value"), 3);
    assert_eq!(timed_outcomes(&captured, "macros::ready_made"), [1, 1, 0, 0]);
    assert_eq!(captured.recorded("macros::boxed"), 2);
}

#[time_me(name = "tasks.time", outcome)]
#[count_me(name = "tasks.calls")]
async fn task(n: u32) -> u32 {
    tokio::task::yield_now().await;
    if n == 0 { 0 } else { Box::pin(task(n - 1)).await + 1 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn futures_may_move_between_threads() {
    let tasks: Vec<_> = (0..50).map(|_| tokio::spawn(task(3))).collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), 3);
    }
    // Tasks ran on threads that live on, so all threads are read.
    let readings = zibrato_core::registry::read();
    let state = |name: &str| {
        let mut found = readings.iter().filter(|r| &*r.id.name == name);
        found.next().map(|r| format!("{:?}", r.state)).unwrap_or_default()
    };
    assert!(state("tasks.calls").contains("whole: 200"), "{}", state("tasks.calls"));
    let timed = readings.iter().find_map(|r| match &r.state {
        zibrato_core::frame::State::Spread(s) if &*r.id.name == "tasks.time" => Some(s.histogram.count()),
        _ => None,
    });
    assert_eq!(timed, Some(200));
}

/// Names of the prelude and of the standard library mean something else here.
mod strict {
    #![no_implicit_prelude]
    #![allow(dead_code)]

    mod core {}
    mod std {}
    struct Option;
    struct Some;
    struct None;
    struct Box;
    struct Here;

    #[::zibrato::time_me(source = "s")]
    #[::zibrato::count_me(value = -1)]
    #[::zibrato::count_me(name = "strict.calls")]
    pub(super) fn plain() -> u32 {
        1
    }

    #[::zibrato::time_me(outcome)]
    #[::zibrato::count_me(name = "strict.ends", outcome, value = n)]
    pub(super) fn with_outcome(n: u32) -> ::core::result::Result<u32, u32> {
        ::core::result::Result::Err(n)
    }

    #[::zibrato::time_me]
    pub(super) fn boxed() -> ::core::pin::Pin<::std::boxed::Box<dyn ::core::future::Future<Output = u32>>> {
        ::std::boxed::Box::pin(::core::future::ready(1))
    }
}

#[test]
fn expansion_needs_no_prelude() {
    let captured = measured(|| (strict::plain(), strict::with_outcome(4), run(strict::boxed())));
    assert_eq!(captured.recorded("macros::strict::plain"), 1);
    assert_eq!(captured.count("macros::strict::plain"), -1);
    assert_eq!(captured.count("strict.calls"), 1);
    assert_eq!(timed_outcomes(&captured, "macros::strict::with_outcome"), [0, 1, 0, 0]);
    assert_eq!(counted_outcomes(&captured, "strict.ends"), [0, 4, 0, 0]);
    assert_eq!(captured.recorded("macros::strict::boxed"), 1);
}

mod reexport {
    pub(crate) use zibrato as measuring;
}

#[time_me(crate = crate::reexport::measuring)]
#[count_me(crate = reexport::measuring)]
fn through_another_name() {}

#[test]
fn crate_may_have_another_name() {
    let captured = measured(through_another_name);
    assert_eq!(captured.recorded("macros::through_another_name"), 1);
    assert_eq!(captured.count("macros::through_another_name"), 1);
}

#[test]
fn a_level_that_is_off_is_not_even_timed_where_outcomes_are_told_apart() {
    use zibrato::__private::{Outcome, OutcomeHere, OutcomeTimeGuard};
    fn on<H: OutcomeHere>(_: &OutcomeTimeGuard<H>) -> bool {
        H::start() != zibrato::__private::OFF
    }
    let measure = || {
        let guard = zibrato::__time_outcome!(level: "quiet", name: "quiet.time", source: None, tags: []);
        let on = on(&guard);
        guard.finish(Outcome::Ok);
        on
    };
    zibrato_core::registry::set_levels("*,!quiet".parse().expect("levels"));
    // The first call finds out.
    measure();
    assert!(!measure());
    zibrato_core::registry::set_levels("*".parse().expect("levels"));
    assert!(measure());
}

#[time_me(name = "sampled.time", sample = 8)]
fn sampled() {}

#[time_me(name = "sampled.async", sample = 8)]
async fn sampled_async() {
    pending_once().await;
}

#[time_me(name = "sampled.result", sample = 8, outcome)]
fn sampled_result(ok: bool) -> Result<(), ()> {
    ok.then_some(()).ok_or(())
}

#[test]
fn a_sample_counts_all_and_times_some() {
    const CALLS: u64 = 8_000;
    let captured = measured(|| {
        for i in 0..CALLS {
            sampled();
            run(sampled_async());
            let _ = sampled_result(i % 2 == 0);
            let _timing = time!(sample = 8, level = "info", "sampled.scope");
        }
    });
    for name in ["sampled.time", "sampled.async", "sampled.scope"] {
        assert_eq!(captured.count(&format!("{name}.calls")), CALLS.cast_signed(), "{name}");
        let timed = captured.recorded(name);
        assert!((CALLS / 12..CALLS / 6).contains(&timed), "{timed} of {CALLS} calls of {name} were timed");
    }
    assert_eq!(captured.count("sampled.result.calls"), CALLS.cast_signed());
    assert_eq!(
        captured.with_tag("outcome", "ok").count("sampled.result.calls"),
        0,
        "none has an outcome yet"
    );
    for outcome in ["ok", "error"] {
        assert!(captured.with_tag("outcome", outcome).recorded("sampled.result") > 0, "{outcome}");
    }
}

#[test]
fn a_sample_of_one_is_all() {
    let captured = measured(|| (0..100).for_each(|_| drop(time!(sample = 1, "sampled.all"))));
    assert_eq!((captured.recorded("sampled.all"), captured.count("sampled.all.calls")), (100, 100));
}

#[test]
fn a_sample_whose_level_is_off_counts_nothing() {
    zibrato_core::registry::set_levels("*,!hush".parse().expect("levels"));
    let call = || drop(time!(sample = 2, level = "hush", "sampled.off"));
    let captured = measured(|| (0..100).for_each(|_| call()));
    zibrato_core::registry::set_levels("*".parse().expect("levels"));
    assert_eq!((captured.recorded("sampled.off"), captured.count("sampled.off.calls")), (0, 0));
    let captured = measured(|| (0..100).for_each(|_| call()));
    assert_eq!(captured.count("sampled.off.calls"), 100);
}

#[time_me(name = "ordered.time", ordered)]
fn ordered() {}

#[test]
fn ordered_times_leave_out_what_reading_the_clock_takes() {
    let captured = measured(|| {
        for _ in 0..1_000 {
            ordered();
            let _timing = time!(ordered, "ordered.scope");
        }
    });
    for name in ["ordered.time", "ordered.scope"] {
        assert_eq!(captured.recorded(name), 1_000);
        assert!(captured.time(name) < Duration::from_secs(10), "{name}");
    }
}
