//! Bad input: counted by reason, and told in the log at a bounded rate.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often one reason is told at most.
const EVERY: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(crate) struct Complaints(BTreeMap<String, Complaint>);

#[derive(Debug, Default)]
struct Complaint {
    count: u64,
    untold: u64,
    told: Option<Instant>,
}

impl Complaints {
    /// Counts something bad for a reason out of a small number of reasons.
    pub(crate) fn add(&mut self, reason: &str, times: u64) {
        self.add_from(reason, times, None);
    }

    /// The same, and whose it is: the last one is named.
    pub(crate) fn add_from(&mut self, reason: &str, times: u64, from: Option<&str>) {
        let complaint = match self.0.get_mut(reason) {
            Some(complaint) => complaint,
            None => self.0.entry(reason.into()).or_default(),
        };
        complaint.count += times;
        complaint.untold += times;
        if complaint.told.is_none_or(|told| told.elapsed() >= EVERY) {
            tracing::warn!(reason, times = complaint.untold, from, "what came from a broker cannot be used");
            (complaint.untold, complaint.told) = (0, Some(Instant::now()));
        }
    }

    /// How often, by reason.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(reason, complaint)| (&**reason, complaint.count))
    }
}
