use zibrato::time_me;

use super::recorded;
use crate::case::{Case, Group, on_handles};
use crate::sites;

pub(crate) const SAMPLED: &str = "`#[time_me(sample = 16)]` on an empty function";
pub(crate) const TIME_ME: &str = "`#[time_me]` on an empty function";

#[time_me(name = "timed.a")]
#[inline(never)]
fn timed_a() {}

#[time_me(name = "timed.b")]
#[inline(never)]
fn timed_b() {}

#[time_me(name = "sampled.a", sample = 16)]
#[inline(never)]
fn sampled_a() {}

#[time_me(name = "sampled.b", sample = 16)]
#[inline(never)]
fn sampled_b() {}

#[time_me(name = "ordered.a", ordered)]
#[inline(never)]
fn ordered_a() {}

#[time_me(name = "ordered.b", ordered)]
#[inline(never)]
fn ordered_b() {}

#[time_me(level = "debug", name = "time_off")]
#[inline(never)]
fn time_off() {}

pub(super) fn cases() -> Vec<Case> {
    let handle = |name| zibrato::timer(name).handle();
    vec![
        Case::zibrato(Group::Timers, TIME_ME, sites!(|_| timed_a(), timed_b()))
            .exact(recorded(["timed.a", "timed.b"])),
        Case::zibrato(Group::Timers, SAMPLED, sites!(|_| sampled_a(), sampled_b()))
            .exact(recorded(["sampled.a.calls", "sampled.b.calls"])),
        Case::zibrato(
            Group::Timers,
            "`#[time_me(ordered)]` on an empty function",
            sites!(|_| ordered_a(), ordered_b()),
        )
        .exact(recorded(["ordered.a", "ordered.b"])),
        Case::zibrato(Group::Timers, "`#[time_me]`, level off", sites!(|_| time_off(), time_off()))
            .one_metric(),
        Case::zibrato(
            Group::Timers,
            "`time!` in place",
            sites!(|_| drop(zibrato::time!("scope.a")), drop(zibrato::time!("scope.b"))),
        )
        .exact(recorded(["scope.a", "scope.b"])),
        Case::zibrato(
            Group::Timers,
            "kept handle, guard",
            on_handles(["timer.a", "timer.b"].map(handle), |timer, _| drop(timer.start())),
        )
        .exact(recorded(["timer.a", "timer.b"])),
        Case::zibrato(
            Group::Timers,
            "kept handle, duration known (no clock)",
            on_handles(["known.a", "known.b"].map(handle), |timer, i| timer.record_nanos(i & 0xffff)),
        )
        .exact(recorded(["known.a", "known.b"])),
    ]
}
