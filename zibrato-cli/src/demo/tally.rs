//! What the service did, counted beside the library.
//!
//! Plain atomics, next to the calls that measure: what arrives at the view is held against them.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use zibrato_core::frame::Kind;

/// Which figure of a metric is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Count,
    Sum,
    Last,
}

impl Which {
    pub(super) fn name(self) -> &'static str {
        match self {
            Which::Count => "count",
            Which::Sum => "sum",
            Which::Last => "last",
        }
    }
}

/// One figure of one metric.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) level: &'static str,
    pub(super) kind: Kind,
    pub(super) name: &'static str,
    pub(super) tag: Option<(&'static str, &'static str)>,
    pub(super) which: Which,
    did: AtomicI64,
}

impl Tally {
    const fn new(kind: Kind, name: &'static str, which: Which) -> Tally {
        Tally { level: "info", kind, name, tag: None, which, did: AtomicI64::new(0) }
    }

    const fn at(self, level: &'static str) -> Tally {
        Tally { level, ..self }
    }

    const fn tag(self, name: &'static str, value: &'static str) -> Tally {
        Tally { tag: Some((name, value)), ..self }
    }

    pub(super) fn add(&self, n: i64) {
        self.did.fetch_add(n, Relaxed);
    }

    pub(super) fn set(&self, n: i64) {
        self.did.store(n, Relaxed);
    }

    pub(super) fn did(&self) -> i64 {
        self.did.load(Relaxed)
    }
}

pub(super) static SORTS: Tally = Tally::new(Kind::Timer, "index.sort", Which::Count);
pub(super) static DIGESTS: Tally =
    Tally::new(Kind::Timer, "index.digest", Which::Count).at("debug").tag("algorithm", "fnv1a");
pub(super) static BLOCKS: Tally = Tally::new(Kind::Counter, "index.blocks", Which::Count).at("debug");
pub(super) static WORDS: Tally = Tally::new(Kind::Counter, "index.words", Which::Count);
pub(super) static DOCUMENTS: Tally = Tally::new(Kind::Distribution, "index.document_size", Which::Count);
pub(super) static BYTES: Tally = Tally::new(Kind::Distribution, "index.document_size", Which::Sum);
pub(super) static KEPT: Tally = Tally::new(Kind::Updown, "shelf.documents", Which::Sum);
pub(super) static VOCABULARY: Tally = Tally::new(Kind::Gauge, "shelf.vocabulary", Which::Last);
pub(super) static CLEANERS: Tally = Tally::new(Kind::Counter, "shelf.cleaner_threads", Which::Count);
pub(super) static FOUND: Tally = Tally::new(Kind::Timer, "search.request", Which::Count).tag("outcome", "ok");
pub(super) static MISSED: Tally =
    Tally::new(Kind::Timer, "search.request", Which::Count).tag("outcome", "error");
pub(super) static CANCELLED: Tally =
    Tally::new(Kind::Timer, "search.request", Which::Count).tag("outcome", "cancelled");
pub(super) static FAILURES: Tally = Tally::new(Kind::Counter, "search.failures", Which::Count).at("error");
pub(super) static WEB_HITS: Tally =
    Tally::new(Kind::Counter, "search.hits", Which::Count).tag("client", "web");
pub(super) static PHONE_HITS: Tally =
    Tally::new(Kind::Counter, "search.hits", Which::Count).tag("client", "phone");

/// All of them, in the order of the final table.
pub(super) static ALL: [&Tally; 15] = [
    &SORTS,
    &DIGESTS,
    &BLOCKS,
    &WORDS,
    &DOCUMENTS,
    &BYTES,
    &KEPT,
    &VOCABULARY,
    &CLEANERS,
    &FOUND,
    &MISSED,
    &CANCELLED,
    &FAILURES,
    &WEB_HITS,
    &PHONE_HITS,
];
