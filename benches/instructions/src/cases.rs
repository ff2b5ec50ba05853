use std::hint::black_box;
use std::sync::atomic::{Ordering::SeqCst, compiler_fence};
use std::time::Instant;

use zibrato::{count_me, time_me};

/// One hot path.
pub(crate) struct Case {
    /// The function that runs it.
    pub(crate) function: &'static str,
    /// The function whose cost is taken off: the same without the event.
    pub(crate) floor: &'static str,
    pub(crate) title: &'static str,
    pub(crate) run: fn(u64),
}

/// Makes a function of each case, whose name callgrind tells.
macro_rules! cases {
    ($($name:ident over $floor:ident: $title:literal, $({ $($before:tt)* })? |$i:pat_param| $event:expr;)*) => {
        $(
            #[inline(never)]
            fn $name(events: u64) {
                $($($before)*)?
                for i in 0..events {
                    let $i = black_box(i);
                    let _ = $event;
                }
            }
        )*

        pub(crate) const CASES: &[Case] = &[$(
            Case { function: stringify!($name), floor: stringify!($floor), title: $title, run: $name },
        )*];
    };
}

/// No instruction, but a reason for the compiler to keep the call of a function.
#[inline(always)]
fn nothing() {
    compiler_fence(SeqCst);
}

#[inline(never)]
fn bare() {
    nothing();
}

#[count_me]
#[inline(always)]
fn counted_in_place() {
    nothing();
}

#[count_me]
#[inline(never)]
fn counted() {
    nothing();
}

#[count_me(level = "debug")]
#[inline(always)]
fn count_off_in_place() {
    nothing();
}

#[count_me(level = "debug")]
#[inline(never)]
fn count_off() {
    nothing();
}

#[time_me]
#[inline(always)]
fn timed_in_place() {
    nothing();
}

#[time_me]
#[inline(never)]
fn timed() {
    nothing();
}

#[time_me(sample = 16)]
#[inline(always)]
fn sampled_in_place() {
    nothing();
}

#[time_me(sample = 16)]
#[inline(never)]
fn sampled() {
    nothing();
}

#[time_me(ordered)]
#[inline(always)]
fn ordered_in_place() {
    nothing();
}

#[time_me(level = "debug")]
#[inline(always)]
fn time_off_in_place() {
    nothing();
}

#[time_me(level = "debug")]
#[inline(never)]
fn time_off() {
    nothing();
}

cases! {
    empty_loop over empty_loop: "empty loop", |_| ();
    empty_call over empty_loop: "call of an empty function", |_| bare();
    count_me over empty_loop: "`#[count_me]`", |_| counted_in_place();
    count_me_call over empty_call: "`#[count_me]`, not inlined", |_| counted();
    count over empty_loop: "`count!`", |_| zibrato::count!("count");
    count_value over empty_loop: "`count!` of a run-time value", |i| zibrato::count!("count_value", i);
    count_fraction over empty_loop: "`count!` of a fraction", |i| zibrato::count!("count_fraction", i as f64 * 0.5);
    count_me_off over empty_loop: "`#[count_me]`, level off", |_| count_off_in_place();
    count_me_off_call over empty_call: "`#[count_me]`, level off, not inlined", |_| count_off();
    counter over empty_loop: "counter handle", { let handle = zibrato::counter("counter").handle(); } |_| handle.add(1);
    counter_lookup over empty_loop: "counter looked up by name and tag", |_| {
        zibrato::counter("counter_lookup").tag("known", "late").handle().add(1)
    };
    gauge over empty_loop: "`gauge!`", |i| zibrato::gauge!("gauge", i as f64);
    gauge_handle over empty_loop: "gauge handle", { let handle = zibrato::gauge("gauge_handle").handle(); } |i| handle.set(i as f64);
    gauge_statistics over empty_loop: "gauge handle with statistics", {
        let handle = zibrato::gauge("gauge_statistics").with_statistics().handle();
    } |i| handle.set(i as f64);
    record over empty_loop: "`record!`", |i| zibrato::record!("record", i & 0xfff);
    time_me over empty_loop: "`#[time_me]`", |_| timed_in_place();
    time_me_call over empty_call: "`#[time_me]`, not inlined", |_| timed();
    time over empty_loop: "`time!`", |_| drop(zibrato::time!("time"));
    time_me_sampled over empty_loop: "`#[time_me(sample = 16)]`", |_| sampled_in_place();
    time_me_sampled_call over empty_call: "`#[time_me(sample = 16)]`, not inlined", |_| sampled();
    time_me_ordered over empty_loop: "`#[time_me(ordered)]`", |_| ordered_in_place();
    time_me_off over empty_loop: "`#[time_me]`, level off", |_| time_off_in_place();
    time_me_off_call over empty_call: "`#[time_me]`, level off, not inlined", |_| time_off();
    timer over empty_loop: "timer handle", { let handle = zibrato::timer("timer").handle(); } |_| handle.time(|| ());
    timer_known over empty_loop: "timer handle, duration known", {
        let handle = zibrato::timer("timer_known").handle();
    } |i| handle.record_nanos(i & 0xffff);
    instant_pair over empty_loop: "`Instant::now` twice, nothing recorded", |_| black_box(black_box(Instant::now()).elapsed());
}
