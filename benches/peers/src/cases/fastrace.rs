//! `fastrace`: local spans under a root, of which each has a thousand, and spans without a root, which are off.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ::fastrace::collector::{Config, Reporter, SpanContext, SpanRecord};
use ::fastrace::local::LocalSpan;
use ::fastrace::{Span, flush, set_reporter};

use crate::case::{Case, Group, repeat};

const SPANS: u64 = 1_000;
static REPORTED: AtomicU64 = AtomicU64::new(0);

struct Count;

impl Reporter for Count {
    fn report(&mut self, spans: Vec<SpanRecord>) {
        REPORTED.fetch_add(spans.len() as u64, Relaxed);
    }
}

pub(crate) fn cases() -> Vec<Case> {
    set_reporter(Count, Config::default());
    vec![
        Case::peer(Group::Timers, "`fastrace` LocalSpan, 1,000 for each root", |_, n| {
            for start in (0..n).step_by(SPANS as usize) {
                let root = Span::root("root", SpanContext::random());
                let _parent = root.set_local_parent();
                repeat(SPANS.min(n - start), |_| drop(LocalSpan::enter_with_local_parent("span")));
            }
        })
        .some(|| {
            flush();
            REPORTED.load(Relaxed)
        })
        .one_metric()
        .with_thread(),
        Case::peer(Group::Timers, "`fastrace` LocalSpan without a root (off)", |_, n| {
            repeat(n, |_| drop(LocalSpan::enter_with_local_parent("span")));
        })
        .one_metric(),
    ]
}
