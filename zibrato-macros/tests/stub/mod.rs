//! Stands in for the facade: the same hidden macros, recording into a list of the thread.
//!
//! The tests reach it through the option `crate`.
#![allow(clippy::pedantic, clippy::unwrap_used, dead_code, unreachable_pub, unused_imports, unused_macros)]

use std::cell::RefCell;
use std::fmt::Write;
use std::future::Future;

thread_local! {
    static EVENTS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What this thread has recorded since the last call, a line an event:
/// `WHAT level name [@source] [key=value…] [Kind value] [=> end]`.
pub fn taken() -> Vec<String> {
    EVENTS.take()
}

pub fn record(event: String) {
    EVENTS.with_borrow_mut(|events| events.push(event));
}

pub fn site(
    what: &str,
    level: &'static str,
    name: &'static str,
    source: Option<&'static str>,
    tags: &[(&'static str, &'static str)],
) -> String {
    let mut line = format!("{what} {level} {name}");
    if let Some(source) = source {
        write!(line, " @{source}").unwrap();
    }
    for (key, value) in tags {
        write!(line, " {key}={value}").unwrap();
    }
    line
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    Error,
}

/// Records at its drop.
#[must_use]
pub struct Guard(pub String);

impl Drop for Guard {
    fn drop(&mut self) {
        record(std::mem::take(&mut self.0));
    }
}

/// Records at `finish`; dropped without, as panicked or cancelled.
#[must_use]
pub struct Finish(pub Option<String>);

impl Finish {
    pub fn finish(mut self) {
        record(self.0.take().unwrap());
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        ended_early(self.0.take());
    }
}

#[must_use]
pub struct OutcomeGuard(pub Option<String>);

impl OutcomeGuard {
    pub fn finish(mut self, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::Ok => "ok",
            Outcome::Error => "error",
        };
        record(format!("{} => {outcome}", self.0.take().unwrap()));
    }
}

impl Drop for OutcomeGuard {
    fn drop(&mut self) {
        ended_early(self.0.take());
    }
}

fn ended_early(event: Option<String>) {
    if let Some(event) = event {
        let how = if std::thread::panicking() { "panicked" } else { "cancelled" };
        record(format!("{event} => {how}"));
    }
}

macro_rules! __site {
    ($what:tt, level: $level:literal, name: $name:expr, source: $source:expr,
     tags: [$(($key:literal, $value:literal)),*]) => {{
        const NAME: &'static ::core::primitive::str = $name;
        const SOURCE: ::core::option::Option<&'static ::core::primitive::str> = $source;
        $crate::stub::site($what, $level, NAME, SOURCE, &[$(($key, $value)),*])
    }};
}
pub(crate) use __site;

macro_rules! __time {
    (how: $how:tt, $($site:tt)*) => {
        $crate::stub::Guard($crate::stub::__site!((::core::concat!("time ", ::core::stringify!($how))), $($site)*))
    };
    ($($site:tt)*) => { $crate::stub::Guard($crate::stub::__site!("time", $($site)*)) };
}
pub(crate) use __time;

macro_rules! __time_async {
    (how: $how:tt, $($site:tt)*) => {
        $crate::stub::Finish(::core::option::Option::Some(
            $crate::stub::__site!((::core::concat!("time_async ", ::core::stringify!($how))), $($site)*)
        ))
    };
    ($($site:tt)*) => {
        $crate::stub::Finish(::core::option::Option::Some($crate::stub::__site!("time_async", $($site)*)))
    };
}
pub(crate) use __time_async;

macro_rules! __time_outcome {
    (how: $how:tt, $($site:tt)*) => {
        $crate::stub::OutcomeGuard(::core::option::Option::Some(
            $crate::stub::__site!((::core::concat!("time ", ::core::stringify!($how))), $($site)*)
        ))
    };
    ($($site:tt)*) => {
        $crate::stub::OutcomeGuard(::core::option::Option::Some($crate::stub::__site!("time", $($site)*)))
    };
}
pub(crate) use __time_outcome;

macro_rules! __count {
    (level: $level:literal, name: $name:expr, source: $source:expr, tags: $tags:tt, value: $value:literal) => {{
        const VALUE: ::core::primitive::u64 = $value;
        let site = $crate::stub::__site!("count", level: $level, name: $name, source: $source, tags: $tags);
        $crate::stub::record(::std::format!("{site} {VALUE}"));
    }};
}
pub(crate) use __count;

macro_rules! __add {
    (level: $level:literal, name: $name:expr, source: $source:expr, tags: $tags:tt,
     kind: $kind:ident, value: $value:expr) => {{
        let value = $value;
        let site = $crate::stub::__site!("add", level: $level, name: $name, source: $source, tags: $tags);
        let kind = $crate::stub::Kind::$kind;
        $crate::stub::record(::std::format!("{site} {kind:?} {value}"));
    }};
}
pub(crate) use __add;

macro_rules! __count_outcome {
    (level: $level:literal, name: $name:expr, source: $source:expr, tags: $tags:tt,
     kind: $kind:ident, value: $value:expr) => {{
        let value = $value;
        let site = $crate::stub::__site!("count", level: $level, name: $name, source: $source, tags: $tags);
        let kind = $crate::stub::Kind::$kind;
        $crate::stub::OutcomeGuard(::core::option::Option::Some(::std::format!("{site} {kind:?} {value}")))
    }};
}
pub(crate) use __count_outcome;

#[derive(Debug)]
pub enum Kind {
    Counter,
    Updown,
}

pub mod __private {
    use super::Outcome;

    pub struct Probe<'a, T>(pub &'a T);

    pub trait OfResult {
        fn outcome(&self) -> Outcome;
    }
    impl<T, E> OfResult for Probe<'_, Result<T, E>> {
        fn outcome(&self) -> Outcome {
            if self.0.is_ok() { Outcome::Ok } else { Outcome::Error }
        }
    }
    pub trait OfAnything {
        fn outcome(&self) -> Outcome;
    }
    impl<T> OfAnything for &Probe<'_, T> {
        fn outcome(&self) -> Outcome {
            Outcome::Ok
        }
    }

    macro_rules! outcome {
        ($result:expr) => {{
            #[allow(unused_imports)]
            use $crate::stub::__private::{OfAnything as _, OfResult as _};
            (&$crate::stub::__private::Probe($result)).outcome()
        }};
    }
    pub(crate) use outcome;
}

/// Polls until the future is done.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}

/// Polls once.
pub fn poll<F: Future + Unpin>(future: &mut F) -> std::task::Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

/// Is ready at the second poll.
pub async fn pending_once() {
    let mut polled = false;
    std::future::poll_fn(move |_| {
        if std::mem::replace(&mut polled, true) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}
