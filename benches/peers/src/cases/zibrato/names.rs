use super::recorded;
use crate::case::{Case, Group, on_handles, repeat};

pub(crate) const HANDLE: &str = "kept handle with a tag";
pub(crate) const LOOKUP: &str = "lookup by name and tag each time";

pub(super) fn cases() -> Vec<Case> {
    let handle = |name| zibrato::counter(name).tag("k", "v").handle();
    let names = ["lookup.a", "lookup.b"].map(String::from);
    vec![
        Case::zibrato(
            Group::RuntimeNames,
            HANDLE,
            on_handles(["tagged.a", "tagged.b"].map(handle), |handle, _| handle.add(1)),
        )
        .exact(recorded(["tagged.a", "tagged.b"])),
        Case::zibrato(Group::RuntimeNames, LOOKUP, move |metric, n| {
            let name = names[metric].as_str();
            repeat(n, |_| zibrato::counter(name).tag("k", "v").handle().add(1));
        })
        .exact(recorded(["lookup.a", "lookup.b"])),
    ]
}
