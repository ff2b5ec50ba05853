//! An application of the fleet: it measures batch after batch, and keeps a ledger of them.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crate::fork::in_child;
use crate::ledger::Ledger;
use crate::work::{batch, measure};

/// What an application is told; where and how it sends is in its environment, as for any application.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// What its batches follow from
    #[arg(long)]
    pub seed: u64,
    /// Where it keeps its ledger
    #[arg(long)]
    pub ledger: PathBuf,
    /// Ends after so many batches; until it is told to by the end of its standard input if not given
    #[arg(long)]
    pub batches: Option<u64>,
    /// Milliseconds of rest after each batch
    #[arg(long, default_value_t = 50)]
    pub rest: u64,
    /// Aborts after so many batches
    #[arg(long)]
    pub abort_after: Option<u64>,
    /// Forks a child after each of so many batches, which measures three batches and ends
    #[arg(long)]
    pub fork_every: Option<u64>,
    /// Measures counters in great number, too
    #[arg(long)]
    pub many: bool,
}

/// Runs it to its end; whether its last totals have been acknowledged.
///
/// # Errors
/// When it cannot install Zibrato or write its ledger.
pub fn run(options: &Options) -> Result<bool, Box<dyn std::error::Error>> {
    let mut ledger = Ledger::create(&options.ledger)?;
    let guard = zibrato::install()?;
    let told_to_end = Arc::new(AtomicBool::new(false));
    if options.batches.is_none() {
        let told = told_to_end.clone();
        thread::spawn(move || {
            // There is nothing to be read but the end.
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            told.store(true, Relaxed);
        });
    }
    let mut number = 0;
    while options.batches.map_or(!told_to_end.load(Relaxed), |batches| number < batches) {
        ledger.begin(number)?;
        let samples = batch(options.seed, number, options.many);
        // Every other batch is measured by a thread that ends with it.
        if number % 2 == 1 {
            thread::spawn(move || samples.iter().for_each(measure))
                .join()
                .map_err(|_| "a thread panicked")?;
        } else {
            samples.iter().for_each(measure);
        }
        ledger.done(number)?;
        number += 1;
        if options.abort_after == Some(number) {
            std::process::abort();
        }
        if options.fork_every.is_some_and(|every| number.is_multiple_of(every)) {
            in_child(|| child(options, number).is_ok_and(|acknowledged| acknowledged));
        }
        if options.rest > 0 {
            thread::sleep(Duration::from_millis(options.rest));
        }
    }
    ledger.ending()?;
    let acknowledged = guard.finish();
    ledger.ended(acknowledged)?;
    Ok(acknowledged)
}

/// How many batches a forked child measures.
pub const BATCHES_OF_CHILD: u64 = 3;

/// The seed of the child that was forked off after so many batches.
pub fn seed_of_child(seed: u64, number: u64) -> u64 {
    seed ^ (number << 32)
}

fn child(options: &Options, number: u64) -> Result<bool, Box<dyn std::error::Error>> {
    let path = options.ledger.with_extension(format!("child-{number}"));
    let mut ledger = Ledger::create(&path)?;
    let guard = zibrato::install()?;
    let seed = seed_of_child(options.seed, number);
    for number in 0..BATCHES_OF_CHILD {
        ledger.begin(number)?;
        batch(seed, number, false).iter().for_each(measure);
        ledger.done(number)?;
    }
    ledger.ending()?;
    let acknowledged = guard.finish();
    ledger.ended(acknowledged)?;
    Ok(acknowledged)
}
