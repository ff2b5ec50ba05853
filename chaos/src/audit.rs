//! What `zibrato audit` makes of the fleet: to be asked when all is quiet, and to be of the same opinion.

use std::collections::BTreeMap;
use std::process::Command;

use serde::Serialize;
use serde_json::Value;

use crate::conservation::Comparison;
use crate::place::WorkerPlace;
use crate::work::Figure;

/// What it said of the workers at one server.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Audited {
    /// Metrics of instances that it compared.
    pub compared: u64,
    /// Those of them that are equal, or newer than what brokers know.
    pub equal: u64,
    /// Counters and updown counters that were accepted, added up.
    pub counted: f64,
    /// Values of timers and distributions that were accepted.
    pub values: f64,
    /// Whether the backend is told totals again and again, so that those cannot be added up.
    pub is_told_totals: bool,
    /// Sets that never came.
    pub missed: u64,
    /// What it found to differ.
    pub differences: Vec<String>,
}

/// What it said of all.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Audit {
    /// `equal`, `differ` or `cannot_tell`.
    pub verdict: String,
    /// Why.
    pub why: String,
    /// By the name of the server.
    pub workers: BTreeMap<String, Audited>,
}

/// Backends that are told totals.
const TOLD_TOTALS: [&str; 1] = ["remote-write"];

impl Audit {
    /// Runs it. `command` is `zibrato` with what it needs to connect to the brokers.
    ///
    /// # Errors
    /// When it says nothing that can be read.
    pub fn of(
        mut command: Command,
        brokers: &str,
        workers: &[WorkerPlace],
        servers: &[&str],
    ) -> Result<Audit, String> {
        command.args(["audit", "--json", "--wait", "30", "--deadline", "15", "--broker", brokers, "--state"]);
        command.args(workers.iter().map(|worker| &worker.state));
        let output = command.output().map_err(|why| format!("zibrato audit: {why}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        let answer: Value = serde_json::from_slice(&output.stdout)
            .map_err(|why| format!("zibrato audit, {}: {why}; {said}", output.status))?;
        let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        let mut audit = Audit { verdict: text("verdict"), why: text("why"), workers: BTreeMap::new() };
        for group in answer["workers"].as_array().into_iter().flatten() {
            let states = || group["states"].as_array().into_iter().flatten();
            let known = states().filter_map(|state| state["state"].as_str()).collect::<Vec<_>>();
            let place =
                workers.iter().find(|place| known.iter().any(|state| place.state.as_os_str() == *state));
            let Some(name) = place.and_then(|place| servers.get(place.server)) else { continue };
            let number = |key: &str| group[key].as_u64().unwrap_or(0);
            let accepted =
                |key: &str| states().filter_map(|state| state["accounts"]["accepted"][key].as_f64()).sum();
            let differences = group["differences"].as_array().into_iter().flatten();
            let backend = group["backend"].as_str().unwrap_or_default();
            let audited = Audited {
                compared: number("compared"),
                equal: number("equal") + number("ahead"),
                counted: accepted("counted"),
                values: accepted("values"),
                is_told_totals: TOLD_TOTALS.contains(&backend),
                missed: number("missed"),
                differences: differences.map(ToString::to_string).collect(),
            };
            audit.workers.insert((*name).to_owned(), audited);
        }
        Ok(audit)
    }

    /// Where it is of another opinion than the comparison with the truth. That may know more: what got lost before a broker
    /// heard of it, or at a server, no audit can see.
    pub fn complaints(&self, comparisons: &[(String, &Comparison)]) -> Vec<String> {
        let mut complaints = Vec::new();
        let is_good = comparisons.iter().all(|(_, comparison)| comparison.differences.is_empty());
        if is_good && self.verdict != "equal" {
            complaints.push(format!("zibrato audit says {}: {}", self.verdict, self.why));
        }
        for (name, comparison) in comparisons {
            let Some(audited) = self.workers.get(name) else {
                complaints.push(format!("zibrato audit does not know the workers of {name}"));
                continue;
            };
            if comparison.differences.is_empty() && !audited.differences.is_empty() {
                complaints.push(format!("zibrato audit says of {name}: {}", audited.differences.join("; ")));
            }
            if audited.is_told_totals {
                continue;
            }
            // What it says was accepted, by its accounts, is what the server has.
            let sum = |values: bool| -> f64 {
                let of = comparison.accepted.iter().filter(|(figure, _)| match figure {
                    Figure::Value => !values,
                    Figure::Count => values,
                    Figure::Sum => false,
                });
                of.map(|(_, sum)| sum).sum()
            };
            for (what, told, found) in
                [("counted", audited.counted, sum(false)), ("values", audited.values, sum(true))]
            {
                if (told - found).abs() > 1e-3 {
                    complaints.push(format!(
                        "zibrato audit says that {name} has accepted {told} {what}, and the server has {found}"
                    ));
                }
            }
        }
        complaints
    }
}
