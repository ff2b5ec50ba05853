use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Counted;
use crate::shell::{Failure, Outcome};

const HEADER: &str = "\
# Instructions per event, as `cargo xtask instructions --update` counted them; it keeps the targets. A change fails
# the check where an event costs over 10 % more, and more than one instruction, or loses a target that was met.

";

/// What is recorded of the hot paths.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Baseline {
    rustc: String,
    #[serde(default, rename = "case")]
    cases: Vec<Case>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Case {
    function: String,
    instructions: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Met,
    Missed,
}

impl Verdict {
    fn of(instructions: f64, target: f64) -> Self {
        if rounded(instructions) <= target { Verdict::Met } else { Verdict::Missed }
    }
}

fn rounded(instructions: f64) -> f64 {
    (instructions * 10.0).round() / 10.0
}

impl Baseline {
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let read = |why: &dyn std::fmt::Display| Failure(format!("read {}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|why| read(&why))?;
        toml::from_str(&text).map_err(|why| read(&why))
    }

    pub(super) fn write(&self, path: &Path) -> Outcome {
        let write = |why: &dyn std::fmt::Display| Failure(format!("write {}: {why}", path.display()));
        let text = toml::to_string(self).map_err(|why| write(&why))?;
        std::fs::write(path, format!("{HEADER}{text}")).map_err(|why| write(&why))
    }

    fn case(&self, function: &str) -> Option<&Case> {
        self.cases.iter().find(|case| case.function == function)
    }

    /// The target of a path, if it has one, and whether it is met.
    pub(super) fn target_met(&self, counted: &Counted) -> Option<(f64, Verdict)> {
        let target = self.case(&counted.function)?.target?;
        Some((target, Verdict::of(counted.instructions, target)))
    }

    /// With new figures and the same targets.
    pub(super) fn updated(&self, counted: &[Counted], rustc: &str) -> Self {
        let cases = counted.iter().map(|counted| Case {
            function: counted.function.clone(),
            instructions: rounded(counted.instructions),
            target: self.case(&counted.function).and_then(|case| case.target),
        });
        Baseline { rustc: rustc.into(), cases: cases.collect() }
    }

    /// Compares new figures to the recorded ones.
    ///
    /// # Errors
    /// Where a path is dearer than recorded, has lost its target, or is recorded but not counted or the other way.
    pub(super) fn check(&self, counted: &[Counted], rustc: &str) -> Outcome {
        let mut wrong = Vec::new();
        for now in counted {
            match self.case(&now.function) {
                Some(recorded) => wrong.extend(worse(recorded, now.instructions)),
                None => wrong.push(format!("`{}` is not recorded", now.function)),
            }
        }
        for recorded in &self.cases {
            if !counted.iter().any(|now| now.function == recorded.function) {
                wrong.push(format!("`{}` is recorded, but there is no such case", recorded.function));
            }
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let advice = if rustc == self.rustc {
            "make it cheaper, or, where it is worth it, record it with `cargo xtask instructions --update`"
                .into()
        } else {
            format!(
                "the figures are of rustc {}, this is rustc {rustc}: where the same sources count the same with \
                 the old compiler as before, record the new one's with `cargo xtask instructions --update`",
                self.rustc
            )
        };
        Err(Failure(format!("keep to the recorded instructions: {}; {advice}", wrong.join(", "))))
    }
}

/// What is wrong with a figure, and is said where it is only better.
fn worse(recorded: &Case, now: f64) -> Option<String> {
    let (function, before) = (&recorded.function, recorded.instructions);
    let tolerance = (before * 0.1).max(1.0);
    let now = rounded(now);
    if now < before - tolerance {
        println!(
            "`{function}` costs {now}, less than the recorded {before}: `cargo xtask instructions --update`"
        );
    }
    match recorded.target {
        _ if now > before + tolerance => Some(format!("`{function}` costs {now}, recorded are {before}")),
        Some(target) if now > target && before <= target => {
            Some(format!("`{function}` costs {now}, its target is {target}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Counted;
    use super::Baseline;

    const RECORDED: &str = r#"
        rustc = "1.95.0"
        [[case]]
        function = "count"
        instructions = 6.5
        target = 7
        [[case]]
        function = "time"
        instructions = 60.0
        target = 52
    "#;

    fn check(figures: &[(&str, f64)], rustc: &str) -> Result<(), String> {
        let counted: Vec<Counted> = figures
            .iter()
            .map(|&(function, instructions)| Counted {
                function: function.into(),
                title: String::new(),
                instructions,
            })
            .collect();
        let recorded: Baseline = toml::from_str(RECORDED).unwrap();
        recorded.check(&counted, rustc).map_err(|why| why.to_string())
    }

    #[test]
    fn tolerance_and_targets() {
        assert_eq!(check(&[("count", 7.04), ("time", 66.0)], "1.95.0"), Ok(()));
        assert_eq!(check(&[("count", 3.0), ("time", 50.0)], "1.95.0"), Ok(()));
        assert!(check(&[("count", 7.2), ("time", 60.0)], "1.95.0").unwrap_err().contains("its target is 7"));
        assert!(check(&[("count", 6.5), ("time", 66.1)], "1.95.0").unwrap_err().contains("recorded are 60"));
    }

    #[test]
    fn cases_are_the_recorded_ones() {
        assert!(check(&[("count", 6.5)], "1.95.0").unwrap_err().contains("no such case"));
        let more = [("count", 6.5), ("time", 60.0), ("new", 1.0)];
        assert!(check(&more, "1.95.0").unwrap_err().contains("`new` is not recorded"));
    }

    #[test]
    fn another_compiler_is_told() {
        let why = check(&[("count", 9.0), ("time", 60.0)], "1.96.0").unwrap_err();
        assert!(why.contains("of rustc 1.95.0, this is rustc 1.96.0"), "{why}");
    }
}
