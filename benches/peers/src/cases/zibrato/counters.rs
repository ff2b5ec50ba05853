use zibrato::count_me;

use super::recorded;
use crate::case::{Case, Group, on_handles};
use crate::sites;

pub(crate) const COUNT_ME: &str = "`#[count_me]` on an empty function";

#[count_me(name = "attribute.a")]
#[inline(never)]
fn attribute_a() {}

#[count_me(name = "attribute.b")]
#[inline(never)]
fn attribute_b() {}

#[count_me(level = "debug", name = "off")]
#[inline(never)]
fn off() {}

pub(super) fn cases() -> Vec<Case> {
    let handle = |name| zibrato::counter(name).handle();
    vec![
        Case::zibrato(Group::Counters, COUNT_ME, sites!(|_| attribute_a(), attribute_b()))
            .exact(recorded(["attribute.a", "attribute.b"])),
        Case::zibrato(Group::Counters, "`#[count_me]`, level off", sites!(|_| off(), off())).one_metric(),
        Case::zibrato(
            Group::Counters,
            "`count!` in place",
            sites!(|_| zibrato::count!("in_place.a"), zibrato::count!("in_place.b")),
        )
        .exact(recorded(["in_place.a", "in_place.b"])),
        Case::zibrato(
            Group::Counters,
            "`count!` of a run-time value",
            sites!(|i| zibrato::count!("value.a", i & 1), zibrato::count!("value.b", i & 1)),
        )
        .some(recorded(["value.a", "value.b"])),
        Case::zibrato(
            Group::Counters,
            "`count!` of a fraction",
            sites!(
                |i| zibrato::count!("fraction.a", i as f64 * 0.5),
                zibrato::count!("fraction.b", i as f64 * 0.5)
            ),
        )
        .some(recorded(["fraction.a", "fraction.b"])),
        Case::zibrato(
            Group::Counters,
            "kept handle",
            on_handles(["handle.a", "handle.b"].map(handle), |handle, _| handle.add(1)),
        )
        .exact(recorded(["handle.a", "handle.b"])),
    ]
}
