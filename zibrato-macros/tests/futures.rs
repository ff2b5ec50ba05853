//! Both attributes on functions that are async or return a future.

mod stub;

use std::cell::Cell;
use std::fmt::Display;
use std::future::{Future, ready};
use std::panic::catch_unwind;
use std::pin::Pin;

use async_trait::async_trait;
use futures::future::{BoxFuture, FutureExt, LocalBoxFuture};
use stub::{pending_once, poll, run, taken};
use zibrato_macros::{count_me, time_me};

fn timed(name: &str) -> String {
    format!("time_async info futures::{name}")
}

fn is_send<T: Send>(value: T) -> T {
    value
}

#[time_me(crate = crate::stub)]
async fn plain(a: u32) -> u32 {
    stub::record("start".into());
    pending_once().await;
    a + 1
}

#[test]
fn timed_from_first_poll_to_completion() {
    let mut future = is_send(Box::pin(plain(1)));
    assert!(taken().is_empty());
    assert!(poll(&mut future).is_pending());
    assert_eq!(taken(), ["start"]);
    assert!(poll(&mut future).is_ready());
    assert_eq!(taken(), [timed("plain")]);
}

#[test]
fn dropped_half_way_is_cancelled() {
    let mut future = Box::pin(plain(1));
    assert!(poll(&mut future).is_pending());
    drop(future);
    assert_eq!(taken(), ["start".into(), timed("plain => cancelled")]);
    drop(plain(1));
    assert!(taken().is_empty(), "never polled, never started");
}

#[time_me(crate = crate::stub)]
async fn early(text: &str) -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
    if text.is_empty() {
        return Err(Box::new(std::fmt::Error));
    }
    pending_once().await;
    let number: u32 = text.parse()?;
    Ok(number)
}

#[time_me(crate = crate::stub, outcome)]
async fn outcome(text: &str) -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
    if text.is_empty() {
        return Err("empty".into());
    }
    assert!(text != "panic", "on purpose");
    pending_once().await;
    Ok(text.parse()?)
}

#[test]
fn early_ends_are_recorded() {
    assert!(run(is_send(early(""))).is_err());
    assert!(run(early("x")).is_err());
    assert!(run(early("1")).is_ok());
    assert_eq!(taken(), vec![timed("early"); 3]);
}

#[test]
fn outcome_tells_how_it_ended() {
    assert!(run(is_send(outcome(""))).is_err());
    assert!(run(outcome("x")).is_err());
    assert!(run(outcome("1")).is_ok());
    assert!(catch_unwind(|| run(outcome("panic"))).is_err());
    let mut cancelled = Box::pin(outcome("1"));
    assert!(poll(&mut cancelled).is_pending());
    drop(cancelled);
    let ended = |how| format!("time info futures::outcome => {how}");
    assert_eq!(taken(), ["error", "error", "ok", "panicked", "cancelled"].map(ended));
}

#[time_me(crate = crate::stub)]
async fn never() -> ! {
    loop {
        pending_once().await;
    }
}

#[time_me(crate = crate::stub, outcome)]
async fn never_with_outcome() -> ! {
    pending_once().await;
    panic!("on purpose")
}

#[test]
fn never_ending_future_is_cancelled_or_panics() {
    let mut future = Box::pin(never());
    assert!(poll(&mut future).is_pending());
    drop(future);
    assert!(catch_unwind(|| run(never_with_outcome())).is_err());
    assert_eq!(
        taken(),
        [timed("never => cancelled"), "time info futures::never_with_outcome => panicked".into()]
    );
}

#[count_me(crate = crate::stub, name = "calls")]
async fn counted() {
    pending_once().await;
}

#[count_me(crate = crate::stub, name = "items", value = items.len())]
async fn counted_items(items: Vec<u8>) -> usize {
    drop(items);
    pending_once().await;
    0
}

#[count_me(crate = crate::stub, name = "ended", outcome, value = 2)]
async fn counted_outcome(ok: bool) -> Result<(), ()> {
    pending_once().await;
    ok.then_some(()).ok_or(())
}

#[test]
fn counted_at_the_first_poll() {
    let mut future = is_send(Box::pin(counted()));
    assert!(taken().is_empty());
    assert!(poll(&mut future).is_pending());
    assert_eq!(taken(), ["count info calls 1"]);
    assert!(poll(&mut future).is_ready());
    run(is_send(counted_items(vec![1, 2, 3])));
    assert!(run(counted_outcome(true)).is_ok());
    assert!(run(counted_outcome(false)).is_err());
    assert_eq!(
        taken(),
        [
            "add info items Counter 3",
            "count info ended Counter 2 => ok",
            "count info ended Counter 2 => error"
        ]
    );
}

struct Store {
    values: Vec<u32>,
}

impl Store {
    #[time_me(crate = crate::stub)]
    async fn last(&mut self) -> Option<&mut u32> {
        pending_once().await;
        self.values.last_mut()
    }

    #[time_me(crate = crate::stub)]
    async fn generic<T, const N: usize>(&self, all: [T; N], also: impl Display) -> impl Display
    where
        T: Display + Clone,
    {
        pending_once().await;
        format!("{}{}{}", self.values.len(), all.len(), also)
    }

    #[time_me(crate = crate::stub, outcome)]
    async fn take(mut self) -> Result<impl Iterator<Item = u32>, String> {
        self.values.pop().ok_or("empty")?;
        Ok(self.values.into_iter())
    }
}

#[test]
fn async_methods_are_timed() {
    let mut store = Store { values: vec![1, 2] };
    *run(is_send(store.last())).unwrap() += 1;
    assert_eq!(run(is_send(store.generic(["a"], 'b'))).to_string(), "21b");
    assert_eq!(run(store.take()).unwrap().collect::<Vec<_>>(), [1]);
    assert_eq!(taken(), [timed("last"), timed("generic"), "time info futures::take => ok".into()]);
}

#[time_me(crate = crate::stub)]
async fn holds_a_cell(cell: Cell<u32>) -> u32 {
    cell.set(1);
    pending_once().await;
    cell.get()
}

#[time_me(crate = crate::stub)]
async fn recursive(n: u32) -> u32 {
    if n == 0 { 0 } else { Box::pin(recursive(n - 1)).await + 1 }
}

#[test]
fn futures_stay_send() {
    assert_eq!(run(is_send(holds_a_cell(Cell::new(0)))), 1);
    assert_eq!(run(is_send(recursive(2))), 2);
    assert_eq!(taken(), [timed("holds_a_cell"), timed("recursive"), timed("recursive"), timed("recursive")]);
}

#[time_me(crate = crate::stub)]
fn returns_block(a: &str) -> impl Future<Output = usize> + Send {
    stub::record("made".into());
    let a = a.len();
    async move {
        pending_once().await;
        a
    }
}

#[time_me(crate = crate::stub, outcome)]
fn returns_other(early: bool) -> impl Future<Output = Result<u32, ()>> {
    if early {
        return ready(Err(()));
    }
    stub::record("made".into());
    ready(Ok(1))
}

#[count_me(crate = crate::stub, name = "n", value = items.len() as u64)]
fn counts_future(items: Vec<u8>) -> impl Future<Output = usize> {
    let n = items.into_iter().map(usize::from).sum::<usize>();
    async move { n }
}

#[count_me(crate = crate::stub, name = "m", value = 3)]
fn counts_other() -> impl Future<Output = ()> {
    ready(())
}

#[test]
fn returned_future_is_measured_not_its_making() {
    let mut future = is_send(Box::pin(returns_block("abc")));
    assert_eq!(taken(), ["made"]);
    assert!(poll(&mut future).is_pending());
    drop(future);
    assert_eq!(taken(), [timed("returns_block => cancelled")]);
    assert_eq!(run(returns_block("abc")), 3);
    assert_eq!(taken(), ["made".into(), timed("returns_block")]);
    assert!(run(returns_other(true)).is_err());
    assert!(run(returns_other(false)).is_ok());
    assert_eq!(
        taken(),
        ["time info futures::returns_other => error", "made", "time info futures::returns_other => ok"]
    );
    drop(counts_future(vec![1]));
    assert_eq!(run(counts_future(vec![3, 4])), 7);
    run(counts_other());
    assert_eq!(taken(), ["add info n Counter 2", "count info m 3"]);
}

#[time_me(crate = crate::stub)]
fn boxed(a: u32) -> Pin<Box<dyn Future<Output = u32> + Send>> {
    stub::record("made".into());
    Box::pin(async move {
        pending_once().await;
        a
    })
}

#[time_me(crate = crate::stub)]
fn boxed_early<'a>(a: &'a str) -> BoxFuture<'a, Result<usize, std::num::ParseIntError>> {
    if a.is_empty() {
        return Box::pin(ready(Ok(0)));
    }
    async move { a.parse() }.boxed()
}

#[time_me(crate = crate::stub)]
fn boxed_by_method(a: &mut u32) -> BoxFuture<'_, &mut u32> {
    async move {
        pending_once().await;
        a
    }
    .boxed()
}

#[count_me(crate = crate::stub, name = "local")]
fn boxed_local(a: std::rc::Rc<u32>) -> LocalBoxFuture<'static, u32> {
    let b = a;
    ::std::boxed::Box::pin(async move { *b })
}

#[test]
fn boxed_futures_are_measured() {
    let future = is_send(boxed(1));
    assert_eq!(taken(), ["made"]);
    assert_eq!(run(future), 1);
    assert_eq!(run(boxed_early("")), Ok(0));
    assert_eq!(run(boxed_early("7")), Ok(7));
    assert_eq!(run(boxed_by_method(&mut 8)), &8);
    assert_eq!(run(boxed_local(std::rc::Rc::new(9))), 9);
    assert_eq!(
        taken(),
        [
            timed("boxed"),
            timed("boxed_early"),
            timed("boxed_early"),
            timed("boxed_by_method"),
            "count info local 1".into()
        ]
    );
}

#[async_trait]
trait Service: Sync {
    async fn call(&mut self, request: String) -> Result<usize, String>;

    #[time_me(crate = crate::stub, name = "default", outcome)]
    #[count_me(crate = crate::stub, name = "default calls", value = a)]
    async fn with_default(&self, a: u32) -> Result<u32, ()> {
        pending_once().await;
        if a == 0 {
            return Err(());
        }
        Ok(a)
    }
}

#[async_trait]
impl Service for Store {
    #[time_me(crate = crate::stub, name = "call", outcome)]
    async fn call(&mut self, request: String) -> Result<usize, String> {
        stub::record("start".into());
        pending_once().await;
        let number: u32 = request.parse().map_err(|_| request.clone())?;
        self.values.push(number);
        Ok(self.values.len())
    }
}

#[test]
fn async_trait_methods_are_measured_at_their_future() {
    let mut store = Store { values: vec![] };
    let service: &mut dyn Service = &mut store;
    drop(service.call("1".into()));
    assert!(taken().is_empty(), "the box is not the call");
    assert_eq!(run(is_send(service.call("1".into()))), Ok(1));
    assert!(run(service.call("x".into())).is_err());
    let mut cancelled = service.call("1".into());
    assert!(poll(&mut cancelled).is_pending());
    drop(cancelled);
    assert_eq!(
        taken(),
        [
            "start",
            "time info call => ok",
            "start",
            "time info call => error",
            "start",
            "time info call => cancelled"
        ]
    );
    assert_eq!(run(service.with_default(2)), Ok(2));
    assert_eq!(run(service.with_default(0)), Err(()));
    assert_eq!(
        taken(),
        [
            "add info default calls Counter 2",
            "time info default => ok",
            "add info default calls Counter 0",
            "time info default => error"
        ]
    );
}

trait Native {
    fn desugared(&self) -> impl Future<Output = u32> + Send;

    #[time_me(crate = crate::stub)]
    async fn native(&self) -> u32 {
        self.desugared().await + 1
    }
}

impl Native for Store {
    #[time_me(crate = crate::stub)]
    fn desugared(&self) -> impl Future<Output = u32> + Send {
        let n = self.values.len();
        async move { n.try_into().unwrap_or(u32::MAX) }
    }
}

#[test]
fn async_methods_of_plain_traits_are_timed() {
    assert_eq!(run(Store { values: vec![5] }.native()), 2);
    assert_eq!(taken(), [timed("desugared"), timed("native")]);
}

#[test]
fn attributes_on_one_future_add_up() {
    #[time_me(crate = crate::stub, name = "first")]
    #[count_me(crate = crate::stub, name = "calls", outcome)]
    #[time_me(crate = crate::stub, name = "last", outcome)]
    async fn all(ok: bool) -> Result<(), ()> {
        pending_once().await;
        ok.then_some(()).ok_or(())
    }
    #[time_me(crate = crate::stub, name = "first")]
    #[count_me(crate = crate::stub, name = "calls", outcome)]
    #[time_me(crate = crate::stub, name = "last", outcome)]
    fn returned(ok: bool) -> impl Future<Output = Result<(), ()>> {
        ready(ok.then_some(()).ok_or(()))
    }
    let expected =
        ["time_async info first", "count info calls Counter 1 => error", "time info last => error"];
    assert!(run(all(false)).is_err());
    assert_eq!(taken(), expected);
    assert!(run(returned(false)).is_err());
    assert_eq!(taken(), expected);
}
