//! The attribute macros of Zibrato: [`macro@time_me`] and [`macro@count_me`].
//!
//! Use them through the `zibrato` crate, which exports them together with the macros that they expand to.
//! All knowledge of cells and registries is there: this crate only decides where in a function the
//! measurement starts and ends.

mod expand;
mod function;
mod future;
mod increment;
mod limits;
mod options;

use proc_macro::TokenStream;

use crate::options::Attribute;

/// Times each call of a function: how often, how long, and the distribution of how long.
///
/// # Arguments
///
/// All are optional, in any order.
///
/// | argument | default | |
/// |---|---|---|
/// | `level = "debug"` | `"info"` | The level by which the timer is switched on, sent and subscribed to: at most 32 bytes without `\|`, commas and white space, not `beat`. |
/// | `name = "my_timer"` | `module::path::function` | The metric's name, 1 to 255 bytes without control characters. A macro that makes a string (`concat!`, `env!`) may stand here too. |
/// | `source = "here"` | the source that `install` is given, by default the host's name | Where it was measured. Limits and macros as for `name`. |
/// | `tags(zone = "eu", "a-b" = "c")` | none | At most 16 pairs of literals, limits as for `name`. A tag makes another series of the same metric. |
/// | `outcome` | off | Adds the tag `outcome`: `ok`, `error` (the function returned an `Err`), `panicked` or `cancelled`. |
/// | `trace` | off | Marks the metric for tracing: whenever it has changed, every hop to the last backend tells of it. |
/// | `sample = 16` | every call | Times a random one in so many calls, 1 to 65536; the counter `<name>.calls` counts every call. |
/// | `ordered` | off | Reads the clock neither early nor late, for functions that take less than a microsecond. |
/// | `crate = path::to::zibrato` | `::zibrato` | Where the `zibrato` crate is found, for a crate that re-exports it. |
///
/// The default name does not contain the type of a method. Where two methods of one module are called the same,
/// they are one metric, unless `name` tells them apart.
///
/// # What is timed
///
/// Functions and methods of any kind: generic, `unsafe`, `extern`, with `impl Trait`, in traits (where there is a
/// body), returning `Result` or `!`. Every end is recorded: the last expression, `return`, `?` and unwinding.
/// The signature, visibility, other attributes, documentation and result of the function stay as they are.
///
/// Where a future is the result, the future is timed, from its first poll to its completion, not the call that
/// makes it. That holds for
///
/// - `async fn`, also in traits;
/// - methods under `#[async_trait]` and functions under `#[async_recursion]`;
/// - functions that return `impl Future`, `Pin<Box<dyn Future>>` or the `BoxFuture` of the `futures` crate.
///   Other named futures cannot be recognised: such a function is timed until it returns.
///
/// A future that is dropped before its end is recorded as cancelled. One that is never polled is not recorded.
///
/// A `const fn`, a function without a body and anything else than a function are errors.
///
/// # Expansion
///
/// ```text
/// #[time_me]                                  fn load(path: &Path) -> io::Result<Page> {
/// fn load(path: &Path) -> io::Result<Page> {      let guard = ::zibrato::__time!(level: "info",
///     …                                               name: concat!(module_path!(), "::", "load"),
/// }                                                   source: None, tags: []);
///                                                 { … }
///                                             }
///
/// #[time_me]                                  async fn fetch(url: Url) -> Page {
/// async fn fetch(url: Url) -> Page {              let guard = ::zibrato::__time_async!(…);
///     …                                           let result = async move { … }.await;
/// }                                               guard.finish();
///                                                 result
///                                             }
///
/// #[time_me(outcome)]                         fn load(path: &Path) -> io::Result<Page> {
/// fn load(path: &Path) -> io::Result<Page> {      let guard = ::zibrato::__time_outcome!(…);
///     …                                           let result = (move || -> io::Result<Page> { … })();
/// }                                               guard.finish(::zibrato::__private::outcome!(&result));
///                                                 result
///                                             }
///
/// #[time_me]                                  fn get(&self) -> impl Future<Output = Page> {
/// fn get(&self) -> impl Future<Output = Page> {   …;
///     …;                                          async move {
///     async move { … }                                let guard = ::zibrato::__time_async!(…);
/// }                                                   let result = async move { … }.await;
///                                                     guard.finish();
///                                                     result
///                                                 }
///                                             }
/// ```
///
/// The last form is taken where the body ends in `async move {}` or `Box::pin(async move {})` and has no other
/// exit. Any other body that makes a future runs as it is, and the future that it gave is awaited in a new one;
/// for `Pin<Box<dyn Future>>` that is a second box.
///
/// Without `outcome`, a plain function keeps its body as it was. With it the body becomes a closure, so
/// `#[track_caller]` then shows the function and no longer its caller, and a closure that is returned as
/// `impl Fn` may have to name the types of its arguments.
///
/// Whether a result is an `Err` is read from its type as the function knows it: that of a generic `T` or of an
/// `impl Trait` counts as `ok`.
///
/// Several attributes on one function all apply. The one that is written last contains the others.
#[proc_macro_attribute]
pub fn time_me(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Attribute::TimeMe, arguments.into(), item.into()).into()
}

/// Counts the calls of a function, or adds to a counter whenever it is called.
///
/// # Arguments
///
/// All are optional, in any order: those of [`macro@time_me`] (`level`, `name`, `source`, `tags`, `outcome`,
/// `trace`, `crate`, with the same defaults), and
///
/// | argument | default | |
/// |---|---|---|
/// | `value = 5` | `1` | By how much a call counts. |
///
/// The value is one of
///
/// - a whole number from 0 to 2^63 − 1, which costs the least;
/// - a fraction, such as `0.5`;
/// - a negative number, such as `-1`: the metric is then one that may go down (`updown`);
/// - an expression that gives any integer, `f32` or `f64`, such as `items.len()`. It may name the arguments, and is
///   evaluated at each call, before the body, also where a future is returned by a function that is not
///   itself `async`. The metric is a counter, which never falls: a negative value is refused, and counted in
///   `zibrato.refused`.
///
/// # What is counted
///
/// A call counts when it starts: before the body, and where a future is the result, at its first poll. With
/// `outcome` it counts when it ends, because only then is it known how. Which functions may be counted, and what
/// the expansion leaves alone, is as for [`macro@time_me`].
///
/// # Expansion
///
/// ```text
/// #[count_me(value = 5)]                      fn deal(hands: &mut [Hand]) {
/// fn deal(hands: &mut [Hand]) {                   ::zibrato::__count!(level: "info",
///     …                                               name: concat!(module_path!(), "::", "deal"),
/// }                                                   source: None, tags: [], value: 5u64);
///                                                 { … }
///                                             }
///
/// #[count_me(value = bytes.len())]            fn send(bytes: &[u8]) {
/// fn send(bytes: &[u8]) {                         ::zibrato::__add!(…, kind: Counter, value: bytes.len());
///     …                                           { … }
/// }                                           }
///
/// #[count_me(value = -1, outcome)]            fn leave(&self) -> Result<(), Error> {
/// fn leave(&self) -> Result<(), Error> {          let guard = ::zibrato::__count_outcome!(…,
///     …                                               kind: Updown, value: -1i64);
/// }                                               let result = (move || -> Result<(), Error> { … })();
///                                                 guard.finish(::zibrato::__private::outcome!(&result));
///                                                 result
///                                             }
/// ```
#[proc_macro_attribute]
pub fn count_me(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Attribute::CountMe, arguments.into(), item.into()).into()
}
