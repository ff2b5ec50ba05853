//! The macros that make call sites. The attribute macros expand to the hidden ones, so that the shape of a call
//! site is known in one place.

/// Adds one to a counter, or as much as is given: a whole number, a float, or any expression of such a type.
///
/// Options come first: `level = "debug"` (default `info`), `source = "name"` (default the configured source) and
/// `tags("key" = "value", …)`; they and the name are constants. For names known only at run time see
/// [`counter`](crate::counter()).
///
/// ```
/// zibrato::count!("requests");
/// zibrato::count!("bytes", 512);
/// zibrato::count!(level = "debug", tags("path" = "/"), "hits", "abc".len());
/// ```
///
/// The option `trace` marks the metric for tracing: whenever it has changed, every hop to the last backend tells of it.
///
/// ```
/// zibrato::count!(trace, "orders");
/// ```
///
/// A negative or non-finite value is refused, and counted in `zibrato.refused`; see [`updown!`](crate::updown!).
#[macro_export]
macro_rules! count {
    ($($all:tt)+) => { $crate::__with_options!(__count_one () ["info"] [$crate::__private::None] [] $($all)+) };
}

/// Adds to a counter that may also fall. Options and names are as for [`count!`].
///
/// ```
/// zibrato::updown!("open_files", 1);
/// zibrato::updown!("open_files", -1);
/// ```
#[macro_export]
macro_rules! updown {
    ($($all:tt)+) => { $crate::__with_options!(__updown () ["info"] [$crate::__private::None] [] $($all)+) };
}

/// Times from here to the end of the scope, or to where the guard is dropped. Options and names are as for
/// [`count!`].
///
/// ```
/// {
///     let _timing = zibrato::time!("scope");
///     // … work …
/// }
/// let timing = zibrato::time!(level = "debug", "abandoned");
/// timing.discard();
/// ```
///
/// Two more options say how it is timed; each comes before all others:
///
/// - `sample = 16` times a random one in 16 calls on average, so that the clock is not read for the others. The
///   timer then has these alone, and a counter with `.calls` behind the timer's name counts every call exactly.
/// - `ordered` reads the clock when what is before is done and before what is after begins, for sections under
///   a microsecond: otherwise the processor may do so up to some 25 ns early or late. It costs about as much more.
///
/// ```
/// # fn look_up(_: &str) {}
/// for word in ["a", "b"] {
///     let _timing = zibrato::time!(sample = 16, "look_up");
///     look_up(word);
/// }
/// let _timing = zibrato::time!(ordered, level = "debug", "short");
/// ```
#[macro_export]
macro_rules! time {
    (sample = $one_in:expr, $($all:tt)+) => {
        $crate::__with_options!(__time (sample $one_in) ["info"] [$crate::__private::None] [] $($all)+)
    };
    (ordered, $($all:tt)+) => {
        $crate::__with_options!(__time (ordered) ["info"] [$crate::__private::None] [] $($all)+)
    };
    ($($all:tt)+) => { $crate::__with_options!(__time () ["info"] [$crate::__private::None] [] $($all)+) };
}

/// Records a duration that is already known. Options and names are as for [`count!`].
///
/// ```
/// zibrato::timing!("queue_wait", std::time::Duration::from_millis(3));
/// ```
#[macro_export]
macro_rules! timing {
    ($($all:tt)+) => { $crate::__with_options!(__timing () ["info"] [$crate::__private::None] [] $($all)+) };
}

/// Sets a gauge. Options and names are as for [`count!`].
///
/// ```
/// zibrato::gauge!("queue_length", 17);
/// zibrato::gauge!("temperature", -3.5);
/// ```
#[macro_export]
macro_rules! gauge {
    ($($all:tt)+) => { $crate::__with_options!(__gauge () ["info"] [$crate::__private::None] [] $($all)+) };
}

/// Records a value of a distribution of anything. Options and names are as for [`count!`]; its unit is said with
/// [`describe`](crate::describe).
///
/// ```
/// zibrato::describe("response_size", "By", "Bytes of a response's body.");
/// zibrato::record!("response_size", 4096);
/// ```
#[macro_export]
macro_rules! record {
    ($($all:tt)+) => { $crate::__with_options!(__record () ["info"] [$crate::__private::None] [] $($all)+) };
}

/// Collects the options of a call, and calls `$then` with them in one order.
#[doc(hidden)]
#[macro_export]
macro_rules! __with_options {
    ($then:ident $how:tt [$($level:tt)*] [$($source:tt)*] [$($tags:tt)*] level = $new:expr, $($rest:tt)+) => {
        $crate::__with_options!($then $how [$new] [$($source)*] [$($tags)*] $($rest)+)
    };
    ($then:ident $how:tt [$($level:tt)*] [$($source:tt)*] [$($tags:tt)*] source = $new:expr, $($rest:tt)+) => {
        $crate::__with_options!($then $how [$($level)*] [$crate::__private::Some($new)] [$($tags)*] $($rest)+)
    };
    ($then:ident $how:tt [$($level:tt)*] [$($source:tt)*] [$($tags:tt)*]
        tags($($key:literal = $value:expr),* $(,)?), $($rest:tt)+) => {
        $crate::__with_options!($then $how [$($level)*] [$($source)*] [$($tags)* $(($key, $value),)*] $($rest)+)
    };
    // The mark is the first of the tags, whatever the order of the options.
    ($then:ident $how:tt [$($level:tt)*] [$($source:tt)*] [$($tags:tt)*] trace, $($rest:tt)+) => {
        $crate::__with_options!(
            $then $how [$($level)*] [$($source)*] [$crate::__private::TRACE, $($tags)*] $($rest)+
        )
    };
    ($then:ident () [$($level:tt)*] [$($source:tt)*] [$($tags:tt)*] $name:expr $(,)?) => {
        $crate::$then!(level: $($level)*, name: $name, source: $($source)*, tags: [$($tags)*])
    };
    ($then:ident () [$($level:tt)*] [$($source:tt)*] [$($tags:tt)*] $name:expr, $value:expr $(,)?) => {
        $crate::$then!(level: $($level)*, name: $name, source: $($source)*, tags: [$($tags)*], value: $value)
    };
    ($then:ident $how:tt [$($level:tt)*] [$($source:tt)*] [$($tags:tt)*] $name:expr $(,)?) => {
        $crate::$then!(how: $how, level: $($level)*, name: $name, source: $($source)*, tags: [$($tags)*])
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __site {
    ($kind:ident, $level:expr, $name:expr, $source:expr, [$($tag:expr),* $(,)?]) => {{
        static SITE: $crate::__private::Site = $crate::__private::Site::new(
            $crate::__private::Kind::$kind, $level, $name, $source, &[$($tag),*],
        );
        &SITE
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __count_one {
    (level: $level:expr, name: $name:expr, source: $source:expr, tags: $tags:tt) => {
        $crate::__count!(level: $level, name: $name, source: $source, tags: $tags, value: 1u64)
    };
    ($($all:tt)+) => { $crate::__count!($($all)+) };
}

#[cfg(feature = "enable")]
#[doc(hidden)]
#[macro_export]
macro_rules! __count {
    (level: $level:expr, name: $name:expr, source: $source:expr, tags: $tags:tt, value: $value:expr) => {{
        $crate::__private::thread_local! {
            static CELL: $crate::__private::WordCell = const { $crate::__private::WordCell::new() };
        }
        let site = $crate::__site!(Counter, $level, $name, $source, $tags);
        if site.is_on() {
            $crate::__private::Increment::count($value, site, &CELL);
        }
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __updown {
    (level: $level:expr, name: $name:expr, source: $source:expr, tags: $tags:tt, value: $value:expr) => {
        $crate::__add!(level: $level, name: $name, source: $source, tags: $tags, kind: Updown, value: $value)
    };
}

#[cfg(feature = "enable")]
#[doc(hidden)]
#[macro_export]
macro_rules! __add {
    (level: $level:expr, name: $name:expr, source: $source:expr, tags: $tags:tt, kind: Counter, value: $value:expr) => {
        $crate::__count!(level: $level, name: $name, source: $source, tags: $tags, value: $value)
    };
    (level: $level:expr, name: $name:expr, source: $source:expr, tags: $tags:tt, kind: $kind:ident, value: $value:expr) => {{
        let site = $crate::__site!($kind, $level, $name, $source, $tags);
        if site.is_on() {
            site.add($value);
        }
    }};
}

#[cfg(feature = "enable")]
#[doc(hidden)]
#[macro_export]
macro_rules! __gauge {
    (level: $level:expr, name: $name:expr, source: $source:expr, tags: $tags:tt, value: $value:expr) => {{
        let site = $crate::__site!(Gauge, $level, $name, $source, $tags);
        let way = site.way();
        if way.is_on() {
            site.set(way, $crate::__private::Number::number($value));
        }
    }};
}

#[cfg(feature = "enable")]
#[doc(hidden)]
#[macro_export]
macro_rules! __record {
    (level: $level:expr, name: $name:expr, source: $source:expr, tags: $tags:tt, value: $value:expr) => {{
        let site = $crate::__site!(Distribution, $level, $name, $source, $tags);
        if site.is_on() {
            site.record($crate::__private::Number::number($value));
        }
    }};
}

#[cfg(feature = "enable")]
#[doc(hidden)]
#[macro_export]
macro_rules! __timing {
    (level: $level:expr, name: $name:expr, source: $source:expr, tags: $tags:tt, value: $value:expr) => {{
        let here = $crate::__time_here!((plain), [record], $level, $name, $source, $tags);
        $crate::__private::record_duration(here, $value);
    }};
}

/// A type that stands for one timing call site. The first argument says how it is timed, the second what else it can
/// do: the compiler makes code for every method of it, used or not.
#[doc(hidden)]
#[macro_export]
macro_rules! __time_here {
    ($how:tt, [$($more:ident)*], $level:expr, $name:expr, $source:expr, $tags:tt) => {{
        static SITE: $crate::__private::Site = $crate::__private::Site::new(
            $crate::__private::Kind::Timer, $level, $name, $source, &$tags,
        );
        $crate::__private::thread_local! {
            static SLOT: $crate::__private::SpreadSlot = const { $crate::__private::SpreadSlot::new(&SITE) };
        }
        struct Here;
        impl $crate::__private::TimeHere for Here {
            #[inline(always)]
            fn start() -> u64 {
                $crate::__time_start!($how, SITE, $level, $name, $source, $tags)
            }
            #[inline(always)]
            fn stop(start: u64) {
                $crate::__time_stop!($how, SLOT, start)
            }
        }
        $( $crate::__time_more!($more, Here, SITE, SLOT, $level, $name, $source, $tags); )*
        Here
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __time_more {
    (record, $here:ident, $site:ident, $slot:ident, $($rest:tt)*) => {
        impl $crate::__private::RecordHere for $here {
            #[inline(always)]
            fn record(nanos: u64) {
                if $site.is_on() {
                    $crate::__private::Site::time(&$slot, nanos);
                }
            }
        }
    };
    (cancel, $here:ident, $site:ident, $slot:ident, $level:expr, $name:expr, $source:expr, $tags:tt) => {
        impl $crate::__private::CancelHere for $here {
            #[inline(never)]
            fn cancelled() {
                $crate::__count!(
                    level: $level, name: $crate::__private::concat!($name, ".cancelled"), source: $source,
                    tags: $tags, value: 1u64
                );
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __time_start {
    ((plain), $site:expr, $($options:tt)*) => {
        $site.start()
    };
    ((ordered), $site:expr, $($options:tt)*) => {
        $site.start_ordered()
    };
    ((sample $one_in:expr), $site:expr, $level:expr, $name:expr, $source:expr, $tags:tt) => {
        $crate::__time_start!((sample $one_in, $tags), $site, $level, $name, $source, $tags)
    };
    ((sample $one_in:expr, $calls:tt), $site:expr, $level:expr, $name:expr, $source:expr, $tags:tt) => {{
        $crate::__private::thread_local! {
            static CALLS: $crate::__private::SampledSlot = const { $crate::__private::SampledSlot::new() };
        }
        const ONE_IN: u32 = $one_in;
        const { assert!(1 <= ONE_IN && ONE_IN <= 65_536, "`sample` is from 1 to 65536") };
        let calls =
            $crate::__site!(Counter, $level, $crate::__private::concat!($name, ".calls"), $source, $calls);
        calls.sample(&CALLS, ONE_IN)
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __time_stop {
    ((ordered), $slot:expr, $start:expr) => {
        $crate::__private::Site::stop_ordered(&$slot, $start)
    };
    ($how:tt, $slot:expr, $start:expr) => {
        $crate::__private::Site::stop(&$slot, $start)
    };
}

#[cfg(feature = "enable")]
#[doc(hidden)]
#[macro_export]
macro_rules! __time {
    (how: $how:tt, level: $level:expr, name: $name:expr, source: $source:expr, tags: $tags:tt) => {
        $crate::__private::TimeGuard::start($crate::__time_here!($how, [], $level, $name, $source, $tags))
    };
    ($($all:tt)+) => { $crate::__time!(how: (plain), $($all)+) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __time_async {
    (how: $how:tt, level: $level:expr, name: $name:expr, source: $source:expr, tags: $tags:tt) => {
        $crate::__private::AsyncTimeGuard::start(
            $crate::__time_here!($how, [cancel], $level, $name, $source, $tags)
        )
    };
    ($($all:tt)+) => { $crate::__time_async!(how: (plain), $($all)+) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __time_outcome {
    // Calls are counted before there is an outcome.
    (how: (sample $one_in:expr), level: $level:expr, name: $name:expr, source: $source:expr,
        tags: [$($tag:expr),* $(,)?]) => {
        $crate::__time_outcome!(
            how: (sample $one_in, [$($tag),*]), level: $level, name: $name, source: $source, tags: [$($tag),*]
        )
    };
    (how: $how:tt, level: $level:expr, name: $name:expr, source: $source:expr, tags: [$($tag:expr),* $(,)?]) => {{
        struct Here;
        fn ok_here() -> impl $crate::__private::TimeHere {
            $crate::__time_here!($how, [], $level, $name, $source, [$($tag,)* ("outcome", "ok")])
        }
        impl $crate::__private::OutcomeHere for Here {
            #[inline(always)]
            fn start() -> u64 {
                $crate::__private::start(ok_here)
            }
            #[inline(never)]
            fn stop(outcome: $crate::__private::Outcome, start: u64) {
                macro_rules! stop {
                    ($word:literal) => {
                        $crate::__private::stop(
                            $crate::__time_here!(
                                $how, [], $level, $name, $source, [$($tag,)* ("outcome", $word)]
                            ),
                            start,
                        )
                    };
                }
                match outcome {
                    $crate::__private::Outcome::Ok => $crate::__private::stop(ok_here(), start),
                    $crate::__private::Outcome::Error => stop!("error"),
                    $crate::__private::Outcome::Panicked => stop!("panicked"),
                    $crate::__private::Outcome::Cancelled => stop!("cancelled"),
                }
            }
        }
        $crate::__private::OutcomeTimeGuard::start(Here)
    }};
    ($($all:tt)+) => { $crate::__time_outcome!(how: (plain), $($all)+) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __count_outcome {
    (level: $level:expr, name: $name:expr, source: $source:expr, tags: [$($tag:expr),* $(,)?], kind: $kind:ident,
        value: $value:expr) => {
        $crate::__private::OutcomeCountGuard::start($value, |outcome, value| {
            macro_rules! add {
                ($word:literal) => {
                    $crate::__site!($kind, $level, $name, $source, [$($tag,)* ("outcome", $word)]).add(value)
                };
            }
            match outcome {
                $crate::__private::Outcome::Ok => add!("ok"),
                $crate::__private::Outcome::Error => add!("error"),
                $crate::__private::Outcome::Panicked => add!("panicked"),
                $crate::__private::Outcome::Cancelled => add!("cancelled"),
            }
        })
    };
}
