//! Clocks that read the processor's counter, with nothing recorded.

use std::hint::black_box;
use std::sync::LazyLock;

use crate::case::{Case, Group, repeat};

static QUANTA: LazyLock<quanta::Clock> = LazyLock::new(quanta::Clock::new);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::floor(Group::Timers, "`quanta` now, then elapsed; nothing recorded", |_, n| {
            let clock = &*QUANTA;
            repeat(n, |_| {
                let start = clock.now();
                black_box(clock.now().duration_since(start));
            });
        }),
        Case::floor(Group::Timers, "`minstant` now, then elapsed; nothing recorded", |_, n| {
            repeat(n, |_| {
                let start = minstant::Instant::now();
                black_box(start.elapsed());
            });
        }),
    ]
}
