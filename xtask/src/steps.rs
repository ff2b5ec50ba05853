//! The steps of `cargo xtask test`: all are run, and what failed is said at the end.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::shell::Failure;

/// How a step ended that did not fail.
pub(crate) enum Done {
    /// It was done.
    Passed,
    /// It could not be done here and need not be; why.
    Skipped(String),
}

pub(crate) struct Steps {
    only: Vec<String>,
    ended: Vec<(&'static str, Duration, Result<Done, Failure>)>,
}

impl Steps {
    /// Only steps whose names contain one of the words are run; all if there are none.
    pub(crate) fn new(only: Vec<String>) -> Self {
        Steps { only, ended: Vec::new() }
    }

    pub(crate) fn run(&mut self, name: &'static str, step: impl FnOnce() -> Result<Done, Failure>) {
        if !self.only.is_empty() && !self.only.iter().any(|word| name.contains(word.as_str())) {
            return;
        }
        println!("\n=== {name}");
        let begin = Instant::now();
        let result = step();
        let took = begin.elapsed();
        println!("=== {name}: {} ({:.1} s)", told(&result), took.as_secs_f64());
        self.ended.push((name, took, result));
    }

    /// Prints what became of each step.
    pub(crate) fn summary(self) -> ExitCode {
        println!("\n=== summary");
        for (name, took, result) in &self.ended {
            println!("{:>7.1} s  {name}: {}", took.as_secs_f64(), told(result));
        }
        let failed = self.ended.iter().filter(|(_, _, r)| r.is_err()).count();
        let skipped = self.ended.iter().filter(|(_, _, r)| matches!(r, Ok(Done::Skipped(_)))).count();
        let passed = self.ended.len() - failed - skipped;
        println!("\nsteps: {passed} passed, {failed} failed, {skipped} skipped");
        if failed > 0 || self.ended.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

fn told(result: &Result<Done, Failure>) -> String {
    match result {
        Ok(Done::Passed) => "passed".into(),
        Ok(Done::Skipped(why)) => format!("skipped: {why}"),
        Err(why) => format!("FAILED to {why}"),
    }
}
