//! A program that reports what it uses itself: CPU time, memory, descriptors, its tokio runtime, and a queue.
//!
//! Start a broker and watch what passes, each in a terminal of its own:
//!
//!     cargo run -p zibrato-cli -- broker
//!     cargo run -p zibrato-cli -- tail
//!
//! and then, with the seconds that it is to run (10 if not given):
//!
//!     cargo run -p zibrato-examples --example runtime -- 60

use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use zibrato::time_me;

/// Work that keeps a worker of the runtime busy.
#[time_me(name = "runtime.job")]
fn job(size: u64) -> u64 {
    (0..size * 10_000).fold(size, |sum, n| std::hint::black_box(sum ^ n))
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds = std::env::args().nth(1).map_or(Ok(10.0), |number| number.parse())?;
    let _zibrato = zibrato::builder().process_metrics(true).install()?;
    // Detached, they are asked until the very end; kept in a variable, until that is dropped.
    zibrato::tokio::watch(&Handle::current(), "main").detach();

    let (jobs, mut queue) = mpsc::channel(100);
    // Sampled rather than set wherever it changes: the queue belongs to tokio, which does not tell.
    let seen = jobs.downgrade();
    zibrato::describe("runtime.queue", "{job}", "Jobs that wait.");
    let sampler = zibrato::on_read(move || {
        if let Some(jobs) = seen.upgrade() {
            zibrato::gauge!("runtime.queue", jobs.max_capacity() - jobs.capacity());
        }
    });
    sampler.detach();

    let worker = tokio::spawn(async move {
        let mut done = 0;
        while let Some(size) = queue.recv().await {
            job(size);
            done += 1;
        }
        done
    });
    let start = Instant::now();
    while start.elapsed() < Duration::try_from_secs_f64(seconds)? {
        for size in 1..=10 {
            jobs.send(size).await?;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(jobs);
    println!("{} jobs done", worker.await?);
    Ok(())
}
