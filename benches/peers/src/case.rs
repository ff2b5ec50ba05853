//! What is measured: one event of one library.

use std::hint::black_box;

/// The tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Counters,
    Timers,
    Gauges,
    RuntimeNames,
}

impl Group {
    pub(crate) const ALL: [Group; 4] = [Group::Counters, Group::Timers, Group::Gauges, Group::RuntimeNames];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Group::Counters => "Counters: add one",
            Group::Timers => "Timers: time an empty block",
            Group::Gauges => "Gauges: set to a value that changes",
            Group::RuntimeNames => "Names and tags known only at run time: add one",
        }
    }

    /// The case that all cases of the group are compared with.
    pub(crate) fn reference(self) -> &'static str {
        match self {
            Group::Counters => "`metrics` handle",
            Group::Timers => "`metrics` handle, timer",
            Group::Gauges => "`metrics` handle, gauge",
            Group::RuntimeNames => "`metrics` handle, with a label",
        }
    }
}

/// Whose case it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    /// What it costs at least, whoever does it.
    Floor,
    Zibrato,
    Peer,
}

/// How it is known that the events were recorded.
pub(crate) enum Proof {
    /// There is nothing to record.
    Nothing,
    /// So many events are in the library's own figures: all that were asked for.
    Exact(Box<dyn Fn() -> u64>),
    /// The library may drop some, or keeps only that there were any.
    Some(Box<dyn Fn() -> u64>),
}

/// Does so many events, on the first or on the second of two metrics.
pub(crate) type Run = Box<dyn Fn(usize, u64) + Sync>;

/// One thing to measure.
pub(crate) struct Case {
    pub(crate) group: Group,
    pub(crate) side: Side,
    pub(crate) name: &'static str,
    pub(crate) run: Run,
    pub(crate) proof: Proof,
    /// Whether two threads can do it on different metrics.
    pub(crate) two_metrics: bool,
    /// A thread of the library goes on working after the events; it gets a pause to finish.
    pub(crate) has_thread: bool,
    /// Threads write to shards of one metric.
    pub(crate) is_sharded: bool,
    /// What is recorded is seen only after the application's own threads have flushed it.
    pub(crate) needs_flush: bool,
    /// Keeps a distribution of durations, from a clock that tells microseconds apart.
    pub(crate) is_distribution: bool,
}

impl Case {
    pub(crate) fn new(
        group: Group,
        side: Side,
        name: &'static str,
        run: impl Fn(usize, u64) + Sync + 'static,
    ) -> Case {
        Case {
            group,
            side,
            name,
            run: Box::new(run),
            proof: Proof::Nothing,
            two_metrics: true,
            has_thread: false,
            is_sharded: false,
            needs_flush: false,
            is_distribution: false,
        }
    }

    pub(crate) fn floor(group: Group, name: &'static str, run: impl Fn(usize, u64) + Sync + 'static) -> Case {
        Case { two_metrics: false, ..Case::new(group, Side::Floor, name, run) }
    }

    pub(crate) fn zibrato(
        group: Group,
        name: &'static str,
        run: impl Fn(usize, u64) + Sync + 'static,
    ) -> Case {
        Case::new(group, Side::Zibrato, name, run)
    }

    pub(crate) fn peer(group: Group, name: &'static str, run: impl Fn(usize, u64) + Sync + 'static) -> Case {
        Case::new(group, Side::Peer, name, run)
    }

    /// The library's own figures have every event.
    pub(crate) fn exact(self, recorded: impl Fn() -> u64 + 'static) -> Case {
        Case { proof: Proof::Exact(Box::new(recorded)), ..self }
    }

    /// The library's own figures are not nothing.
    pub(crate) fn some(self, recorded: impl Fn() -> u64 + 'static) -> Case {
        Case { proof: Proof::Some(Box::new(recorded)), ..self }
    }

    pub(crate) fn one_metric(self) -> Case {
        Case { two_metrics: false, ..self }
    }

    pub(crate) fn with_thread(self) -> Case {
        Case { has_thread: true, ..self }
    }

    pub(crate) fn sharded(self) -> Case {
        Case { is_sharded: true, ..self }
    }

    pub(crate) fn flushed_by_hand(self) -> Case {
        Case { needs_flush: true, ..self }
    }

    pub(crate) fn distribution(self) -> Case {
        Case { is_distribution: true, ..self }
    }
}

/// The loop around every event. The counter goes through memory, so that no event can be hoisted out.
#[inline(always)]
pub(crate) fn repeat(n: u64, mut event: impl FnMut(u64)) {
    for i in 0..n {
        black_box(i);
        event(i);
    }
}

/// A run of two call sites, one for each metric.
#[macro_export]
macro_rules! sites {
    (|$i:pat_param| $first:expr, $second:expr) => {
        |metric: usize, n: u64| {
            if metric == 0 {
                $crate::case::repeat(n, |$i| $first)
            } else {
                $crate::case::repeat(n, |$i| $second)
            }
        }
    };
}

/// A run of an event on one of two handles that are kept.
pub(crate) fn on_handles<H: Sync + 'static>(
    handles: [H; 2],
    event: impl Fn(&H, u64) + Sync + 'static,
) -> impl Fn(usize, u64) + Sync + 'static {
    move |metric, n| {
        let handle = &handles[metric];
        repeat(n, |i| event(handle, i));
    }
}
