//! `nm`: events of each thread, summed when a report asks (pull), or when the application says so (push). Its own
//! way to time has a clock of milliseconds; `Instant` is the other.

use std::time::Instant;

use ::nm::{Event, Magnitude, MetricsPusher, Pull, Push, Report};

use crate::case::{Case, Group, repeat};

const BUCKETS: &[Magnitude] =
    &[100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

fn pull(name: &'static str) -> Event<Pull> {
    Event::builder().name(name).build()
}

fn histogram(name: &'static str) -> Event<Pull> {
    Event::builder().name(name).histogram(BUCKETS).build()
}

thread_local! {
    static PUSHER: MetricsPusher = MetricsPusher::new();
    static PULL: [Event<Pull>; 2] = ["pull_a", "pull_b"].map(pull);
    static PUSH: [Event<Push>; 2] =
        ["push_a", "push_b"].map(|name| Event::builder().name(name).pusher_local(&PUSHER).build());
    static COARSE: [Event<Pull>; 2] = ["coarse_a", "coarse_b"].map(histogram);
    static FINE: [Event<Pull>; 2] = ["fine_a", "fine_b"].map(histogram);
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::peer(Group::Counters, "`nm` event, pull", |metric, n| {
            repeat(n, |_| PULL.with(|events| events[metric].observe_once()));
        })
        .exact(recorded(["pull_a", "pull_b"]))
        .sharded(),
        Case::peer(Group::Counters, "`nm` event, push (the application must flush)", |metric, n| {
            repeat(n, |_| PUSH.with(|events| events[metric].observe_once()));
            PUSHER.with(MetricsPusher::push);
        })
        .exact(recorded(["push_a", "push_b"]))
        .sharded()
        .flushed_by_hand(),
        Case::peer(
            Group::Timers,
            "`nm` observe_duration_millis (8 buckets, a clock of milliseconds)",
            |metric, n| {
                repeat(n, |_| COARSE.with(|events| events[metric].observe_duration_millis(|| {})));
            },
        )
        .exact(recorded(["coarse_a", "coarse_b"]))
        .sharded(),
        Case::peer(Group::Timers, "`nm` event with `Instant` (8 buckets)", |metric, n| {
            repeat(n, |_| {
                let start = Instant::now();
                FINE.with(|events| events[metric].observe(start.elapsed().as_nanos() as i64));
            });
        })
        .exact(recorded(["fine_a", "fine_b"]))
        .sharded()
        .distribution(),
    ]
}

fn recorded(names: [&'static str; 2]) -> impl Fn() -> u64 {
    move || {
        let report = Report::collect();
        report.events().filter(|e| names.contains(&&**e.name())).map(|e| e.count()).sum()
    }
}
