//! Measure a program from inside, at the cost of a few instructions, and see exact totals wherever people look.
//!
//! # In libraries
//!
//! Depend on `zibrato` with `default-features = false` and measure. All of it compiles to nothing, unless the feature
//! `enable` is on, which an application switches on for all libraries in it by depending on `zibrato` itself. Then a few
//! instructions are spent, and nothing is sent unless the application installs Zibrato. A library's own tests of what it
//! measures need the feature among its dev-dependencies.
//!
//! ```
//! use zibrato::{count_me, time_me};
//!
//! #[time_me(level = "debug")]
//! fn parse(text: &str) -> Option<u32> {
//!     text.trim().parse().ok()
//! }
//!
//! #[count_me(name = "lookups", tags(table = "users"))]
//! async fn look_up(id: u32) -> String {
//!     format!("user {id}")
//! }
//! # assert_eq!(parse(" 7 "), Some(7));
//! # drop(look_up(7));
//! ```
//!
//! # In applications
//!
//! Install it once, and keep the guard until the end of `main`: its drop delivers the last totals.
//!
//! ```no_run
//! # #[cfg(feature = "publish")]
//! fn main() -> Result<(), zibrato::InstallError> {
//!     let _zibrato = zibrato::install()?;
//!     zibrato::count!("starts");
//!     // … the program …
//!     Ok(())
//! }
//! # #[cfg(not(feature = "publish"))]
//! # fn main() {}
//! ```
//!
//! # What can be measured
//!
//! | kind | attribute | scope or direct | name known at run time |
//! |---|---|---|---|
//! | counter, a total that rises | [`count_me`] | [`count!`] | [`counter()`] |
//! | updown counter, a total that may fall | `count_me(value = -1)` | [`updown!`] | [`updown()`] |
//! | timer, a distribution of durations | [`time_me`] | [`time!`], [`timing!`] | [`timer()`] |
//! | distribution of anything | | [`record!`] | [`distribution()`] |
//! | gauge, a last value | | [`gauge!`] | [`gauge()`] |
//!
//! Everything works before, without and after [`install`], on any thread, also while a thread or the process is
//! shutting down. A level that is switched off costs a load and a branch.
//!
//! What is measured already, through the facades `metrics` and `tracing`, can come along: see the module `bridge`,
//! which the features of these names switch on.

#[cfg(any(feature = "metrics", feature = "tracing"))]
pub mod bridge;
mod guard;
mod macros;
mod name;
mod number;
#[cfg(not(feature = "enable"))]
mod off;
mod outcome;
#[cfg(feature = "process")]
pub mod process;
#[cfg(feature = "publish")]
mod publish;
mod status;
pub mod testing;
#[cfg(feature = "tokio")]
pub mod tokio;

pub use name::{Named, counter, distribution, gauge, timer, updown};
pub use outcome::Outcome;
#[cfg(feature = "publish")]
pub use publish::{Builder, Guard, InstallError, builder, install, spill};
pub use status::{Status, status};
pub use zibrato_core::callback::Callback;
/// Calls a function before each time the measurements are read for sending, until what it returns is dropped.
///
/// This is for values that are sampled rather than measured wherever they change: the length of a queue, the size of a
/// cache, what another library counts. Callbacks run on the publisher's thread, in the order in which they were
/// registered, once in each interval, at each flush and at the end.
///
/// ```
/// use std::sync::{Arc, Mutex};
///
/// let queue = Arc::new(Mutex::new(vec![3, 1, 2]));
/// let seen = queue.clone();
/// let _sampled = zibrato::on_read(move || {
///     if let Ok(queue) = seen.lock() {
///         zibrato::gauge!("queue.length", queue.len());
///     }
/// });
/// ```
///
/// - A slow callback delays the publisher, and nobody else. One that never returns keeps it from sending anything: do
///   not wait for something in it that itself waits for the publisher's guard.
/// - One that panics is said on stderr and never called again; the others go on.
/// - Callbacks may register and remove callbacks, themselves too.
/// - A forked child has none of its parent's.
/// - Without the feature `publish` in the program nobody reads, and so nothing is called.
pub use zibrato_core::callback::on_read;
pub use zibrato_core::registry::{Counter, Distribution, Gauge, Increment, Timer, Updown, describe};
/// An attribute that counts calls.
///
/// ```
/// use zibrato::count_me;
/// use zibrato::testing::capture;
///
/// #[count_me(name = "lookups", tags(table = "users"))]
/// fn look_up(id: u32) -> Option<&'static str> {
///     (id == 7).then_some("Ada")
/// }
///
/// #[count_me(level = "debug", name = "bytes_out", value = bytes.len())]
/// async fn send(bytes: Vec<u8>) {}
///
/// #[count_me(name = "seats_free", value = -1, outcome)]
/// fn book(seat: &str) -> Result<u32, std::num::ParseIntError> {
///     seat.parse()
/// }
///
/// let (_, captured) = capture(|| (look_up(7), look_up(8), book("12"), book("window")));
/// assert_eq!(captured.count("lookups"), 2);
/// assert_eq!(captured.with_tag("outcome", "ok").count("seats_free"), -1);
/// assert_eq!(captured.with_tag("outcome", "error").count("seats_free"), -1);
/// # drop(send(Vec::new()));
/// ```
pub use zibrato_macros::count_me;
/// An attribute that times calls and futures.
///
/// ```
/// use std::io;
/// use zibrato::testing::capture;
/// use zibrato::time_me;
///
/// #[time_me]
/// fn plain(n: u64) -> u64 {
///     (1..=n).product()
/// }
///
/// struct Store;
///
/// impl Store {
///     #[time_me(level = "debug", name = "store.load", tags(medium = "disk"), outcome)]
///     fn load(&self, path: &str) -> io::Result<String> {
///         let text = std::fs::read_to_string(path)?;
///         Ok(text.trim().into())
///     }
///
///     #[time_me(name = "store.fetch")]
///     async fn fetch(&self, url: &str) -> String {
///         url.to_uppercase()
///     }
/// }
///
/// let (_, captured) = capture(|| (plain(5), Store.load("/no/such/file")));
/// assert_eq!(captured.recorded(concat!(module_path!(), "::plain")), 1);
/// assert_eq!(captured.with_tag("outcome", "error").recorded("store.load"), 1);
/// # drop(Store.fetch("a"));
/// ```
pub use zibrato_macros::time_me;

/// What the macros expand to. Nothing in here is meant to be called by hand.
#[doc(hidden)]
pub mod __private {
    pub use std::{concat, option::Option::None, option::Option::Some, thread_local};

    pub use zibrato_core::cell::{SampledSlot, SpreadSlot, WordCell};
    pub use zibrato_core::clock;
    pub use zibrato_core::frame::Kind;
    pub use zibrato_core::registry::{Increment, Site, TRACE};

    pub use crate::__outcome as outcome;
    pub use crate::guard::{
        AsyncTimeGuard, CancelHere, OFF, OutcomeCountGuard, OutcomeHere, OutcomeTimeGuard, RecordHere,
        TimeGuard, TimeHere, record_duration, start, stop,
    };
    pub use crate::number::Number;
    #[cfg(not(feature = "enable"))]
    pub use crate::off::{Untimed, check_duration, check_increment};
    pub use crate::outcome::{AnyOutcome, Outcome, ResultOutcome, Seen};
}

/// The examples of the README and of `docs/measure.md`, so that they compile and run.
#[cfg(all(doctest, feature = "publish"))]
mod documents {
    #[doc = include_str!("../../README.md")]
    struct Readme;
    #[doc = include_str!("../../docs/measure.md")]
    struct Measure;
    #[cfg(all(feature = "metrics", feature = "tracing"))]
    #[doc = include_str!("../../docs/bridges.md")]
    struct Bridges;
}
