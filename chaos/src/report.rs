//! What a run has come to, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;

use crate::audit::Audit;
use crate::conservation::{Difference, Family};
use crate::hop::Figures;
use crate::part::Usage;
use crate::schedule::{Event, Fault};
use crate::truth::Cut;

/// What a run has come to.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What it followed from.
    pub seed: u64,
    /// How long things went wrong, in seconds.
    pub seconds: f64,
    /// How many brokers there were.
    pub brokers: usize,
    /// The workers and their servers.
    pub workers: Vec<String>,
    /// What could not be done here, and why.
    pub left_out: Vec<String>,
    /// What was planned.
    pub schedule: Vec<Event>,
    /// How often each fault was made, those to a single message aside.
    pub faults: BTreeMap<Fault, u64>,
    /// What happened to messages between applications and brokers.
    pub to_brokers: Figures,
    /// What happened to messages between brokers and workers.
    pub from_brokers: Figures,
    /// Whether all connections to brokers were encrypted.
    pub has_keys: bool,
    /// What brokers have refused, by reason, as far as they told before they were killed.
    pub refused: BTreeMap<String, u64>,
    /// What the shipped audit said, where it could be asked.
    pub audit: Option<Audit>,
    /// Sets that brokers found missing when a later one came, by level.
    pub gaps: BTreeMap<String, u64>,
    /// Frames that brokers have taken in.
    pub frames_in: u64,
    /// Processes of applications, children included.
    pub lives: u64,
    /// How many of them ended with a broker's acknowledgement.
    pub acknowledged: u64,
    /// How many left their last totals in a directory, from where they were delivered later.
    pub spilled: u64,
    /// Batches of measurements.
    pub batches: u64,
    /// Processes that were cut off, and what that cost.
    pub cut: Vec<Cut>,
    /// Totals by worker and family.
    pub families: BTreeMap<String, BTreeMap<String, Family>>,
    /// How many figures were compared.
    pub compared: usize,
    /// What differs, the first of it.
    pub differences: Vec<Difference>,
    /// How much more of that there is.
    pub more_differences: usize,
    /// What else is not as it should be.
    pub complaints: Vec<String>,
    /// What each part has used.
    pub usage: BTreeMap<String, Usage>,
    /// Seconds from the end of all faults until every server had everything.
    pub settled_after: f64,
    /// Where logs and ledgers are, where they were kept.
    pub directory: Option<PathBuf>,
}

impl Report {
    /// Whether all is as it should be.
    pub fn is_good(&self) -> bool {
        self.differences.is_empty() && self.complaints.is_empty()
    }

    /// The events, a line each.
    pub fn plan(events: &[Event]) -> String {
        let mut text = String::new();
        for Event { at, fault, target, lasts, by } in events {
            let _ = write!(text, "{:>8.3} s  {fault:?}: {target}", at.as_secs_f64());
            let _ = match (*fault, lasts.is_zero()) {
                (Fault::Step, _) => writeln!(text, ", {by:+} s"),
                (_, true) => writeln!(text),
                _ => writeln!(text, ", for {:.1} s", lasts.as_secs_f64()),
            };
        }
        text
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a text cannot fail.
        let mut line = |line: String| {
            let _ = writeln!(text, "{line}");
        };
        line(format!(
            "seed {}: {:.0} s, {} brokers{}, workers {}",
            self.seed,
            self.seconds,
            self.brokers,
            if self.has_keys { " with keys" } else { "" },
            self.workers.join(", ")
        ));
        for left_out in &self.left_out {
            line(format!("left out: {left_out}"));
        }
        let faults: Vec<String> =
            self.faults.iter().map(|(fault, count)| format!("{} {count}", name(*fault))).collect();
        line(format!("faults: {}", faults.join(", ")));
        for (way, f) in [("to brokers", self.to_brokers), ("from brokers", self.from_brokers)] {
            line(format!(
                "messages {way}: {} in all, {} dropped, {} altered, {} twice, {} late, {} out of order; {} of {} connections reset",
                f.messages,
                f.dropped,
                f.altered,
                f.duplicated,
                f.delayed,
                f.reordered,
                f.resets,
                f.connections
            ));
        }
        let refused: Vec<String> =
            self.refused.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        line(format!("refused by brokers: {}", refused.join(", ")));
        let gaps: Vec<String> = self.gaps.iter().map(|(level, gaps)| format!("{level} {gaps}")).collect();
        line(format!("frames at brokers: {}; sets missing: {}", self.frames_in, gaps.join(", ")));
        line(format!(
            "applications: {} lives, {} acknowledged at their end, {} kept for the next, {} cut off; {} batches",
            self.lives,
            self.acknowledged,
            self.spilled,
            self.cut.len(),
            self.batches
        ));
        if let Some(worst) = self.cut.iter().max_by(|a, b| a.lost_seconds.total_cmp(&b.lost_seconds)) {
            let within = self.cut.iter().filter(|cut| cut.lost_seconds <= cut.interval + 0.25).count();
            line(format!(
                "cut off: {within} of {} lost no more than their last interval; the most is the last {:.1} s of {} (interval {} s)",
                self.cut.len(),
                worst.lost_seconds,
                worst.source,
                worst.interval
            ));
        }
        let seen = || self.cut.iter().filter(|cut| cut.witnessed.is_some() && cut.arrived.is_some());
        let sum = |of: fn(&Cut) -> u64| seen().map(of).sum::<u64>();
        // Under encryption nothing is seen.
        if seen().count() > 0 {
            line(format!(
                "of {} batches of {} lives that were cut off at least {} had to arrive, {} by what brokers were seen to be handed; {} did",
                sum(|cut| cut.batches),
                seen().count(),
                sum(|cut| cut.at_least.max(cut.witnessed.unwrap_or(0))),
                sum(|cut| cut.witnessed.unwrap_or(0)),
                sum(|cut| cut.arrived.unwrap_or(0))
            ));
        }
        for (part, Usage { cpu_seconds, peak_rss_kib, starts }) in &self.usage {
            let rss = *peak_rss_kib as f64 / 1024.0;
            line(format!("{part:>22}: {cpu_seconds:7.1} s CPU, {rss:6.1} MiB at most, {starts} starts"));
        }
        for (worker, families) in &self.families {
            line(format!("{worker}: recorded, settled, accepted"));
            for (family, Family { recorded, settled, accepted }) in families {
                line(format!("{family:>34}: {recorded:>16.3} {settled:>16.3} {accepted:>16.3}"));
            }
        }
        if let Some(Audit { verdict, why, workers }) = &self.audit {
            let missed = workers.iter().map(|(name, of)| format!("{name} {}", of.missed)).collect::<Vec<_>>();
            line(format!("audit: {verdict}: {why}; sets missed: {}", missed.join(", ")));
        }
        for complaint in &self.complaints {
            line(format!("WRONG: {complaint}"));
        }
        for difference in &self.differences {
            line(format!("DIFFERS: {difference}"));
        }
        if self.more_differences > 0 {
            line(format!("and {} more differ", self.more_differences));
        }
        if let Some(directory) = &self.directory {
            line(format!("logs and ledgers: {}", directory.display()));
        }
        let verdict = if self.is_good() { "nothing lost, nothing twice" } else { "FAILED" };
        line(format!(
            "{verdict}: {} figures compared, all there {:.1} s after the last fault",
            self.compared, self.settled_after
        ));
        text
    }
}

/// The fault as the command line has it.
pub fn name(fault: Fault) -> String {
    use clap::ValueEnum as _;
    fault.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}
