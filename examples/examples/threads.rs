//! A program with threads that measures itself.
//!
//! Start a broker and watch what passes, each in a terminal of its own:
//!
//!     cargo run -p zibrato-cli -- broker
//!     cargo run -p zibrato-cli -- tail
//!
//! and then, with the number of jobs (1000 if not given):
//!
//!     cargo run -p zibrato-examples --example threads -- 5000

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use zibrato::{count_me, gauge, record, time_me};

/// The factors of a number, found the slow way.
#[time_me(level = "debug", name = "factors.job")]
fn factors(mut number: u64) -> Vec<u64> {
    let mut factors = Vec::new();
    let mut factor = 2;
    while factor * factor <= number {
        while number.is_multiple_of(factor) {
            factors.push(factor);
            number /= factor;
        }
        factor += 1;
    }
    factors.extend((number > 1).then_some(number));
    record!("factors.found", factors.len());
    factors
}

/// Counts every call and its outcome in a metric for each: ok, error or panicked.
#[count_me(name = "factors.checked", outcome)]
fn check(number: u64, factors: &[u64]) -> Result<(), String> {
    match factors.iter().product::<u64>() == number {
        true => Ok(()),
        false => Err(format!("{factors:?} are not the factors of {number}")),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Keep the guard: when it is dropped, at the end of main, the last totals are delivered.
    let _zibrato = zibrato::install()?;
    zibrato::describe("factors.found", "{factor}", "How many factors a number has.");

    let jobs: usize = std::env::args().nth(1).map_or(Ok(1000), |number| number.parse())?;
    let next = AtomicUsize::new(0);
    let most = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for worker in 0..4 {
            let (next, most) = (&next, &most);
            scope.spawn(move || {
                // Names and tags that are known only now take a handle; keep it for as long as it is used.
                let done = zibrato::counter("factors.done").tag("worker", &worker.to_string()).handle();
                loop {
                    let job = next.fetch_add(1, Relaxed);
                    if job >= jobs {
                        return;
                    }
                    gauge!("factors.waiting", jobs - job - 1);
                    let number = 1_000_000 + job as u64;
                    let factors = factors(number);
                    if let Err(why) = check(number, &factors) {
                        eprintln!("{why}");
                    }
                    if let Ok(mut most) = most.lock() {
                        most.insert(factors.len(), number);
                    }
                    done.add(1);
                    thread::sleep(Duration::from_micros(200));
                }
            });
        }
    });
    if let Some((number, of)) =
        most.lock().ok().and_then(|most| most.last_key_value().map(|(n, of)| (*n, *of)))
    {
        println!("{of} has {number} factors, more than any other of {jobs} numbers");
    }
    Ok(())
}
