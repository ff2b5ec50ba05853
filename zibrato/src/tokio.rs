//! What runtimes of tokio do: workers, tasks, queues.
//!
//! The metrics are those that tokio keeps in every build, at level `info`, with the tag `runtime`:
//!
//! | metric | kind, unit | what it is |
//! |---|---|---|
//! | `tokio.worker.count` | gauge, `{worker}` | threads that run tasks |
//! | `tokio.task.count` | gauge, `{task}` | tasks that were spawned and have not ended |
//! | `tokio.global_queue.depth` | gauge, `{task}` | tasks that wait for any worker |
//! | `tokio.worker.busy_time`, tag `worker` | counter, `s` | for how long this worker has run something |
//! | `tokio.worker.park_count`, tag `worker` | counter, `{park}` | how often this worker had nothing to do |
//!
//! A worker that is busy all the time while others are not has a task that blocks. The workers of one runtime are
//! numbered from 0.

use std::time::Duration;

use ::tokio::runtime::{Handle, RuntimeMetrics};
use zibrato_core::callback::Callback;

use crate::{Counter, Gauge, counter, describe, gauge, on_read};

/// Reports what a runtime does before each read, and when what it returns is dropped, with which it ends. The name tells several runtimes
/// apart; what two of one name count is added up.
///
/// Busy times and parks are counted since the runtime began; later instances of the same process count what came after
/// the last read of the one before. The callback keeps the runtime's memory, though not the runtime, alive.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
/// let watching = zibrato::tokio::watch(runtime.handle(), "main");
/// runtime.block_on(async {
///     // … the program …
/// });
/// drop(watching);
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn watch(runtime: &Handle, name: &str) -> Callback {
    describe("tokio.worker.count", "{worker}", "Threads of the runtime that run tasks.");
    describe("tokio.task.count", "{task}", "Tasks that were spawned and have not ended.");
    describe("tokio.global_queue.depth", "{task}", "Tasks that wait for any worker.");
    describe("tokio.worker.busy_time", "s", "For how long the worker has run something.");
    describe("tokio.worker.park_count", "{park}", "How often the worker had nothing to do.");
    let mut watched = Watched::new(runtime.metrics(), name);
    on_read(move || watched.measure())
}

struct Watched {
    runtime: RuntimeMetrics,
    workers: Gauge,
    tasks: Gauge,
    queue: Gauge,
    each: Vec<Worker>,
}

struct Worker {
    number: usize,
    busy: Counter,
    busy_counted: Duration,
    parks: Counter,
    parks_counted: u64,
}

impl Watched {
    fn new(runtime: RuntimeMetrics, name: &str) -> Self {
        let handle = |metric| gauge(metric).tag("runtime", name).handle();
        let workers = 0..runtime.num_workers();
        Watched {
            runtime,
            workers: handle("tokio.worker.count"),
            tasks: handle("tokio.task.count"),
            queue: handle("tokio.global_queue.depth"),
            each: workers.map(|number| Worker::new(number, name)).collect(),
        }
    }

    fn measure(&mut self) {
        self.workers.set(self.runtime.num_workers() as f64);
        self.tasks.set(self.runtime.num_alive_tasks() as f64);
        self.queue.set(self.runtime.global_queue_depth() as f64);
        self.each.iter_mut().for_each(|worker| worker.measure(&self.runtime));
    }
}

impl Worker {
    fn new(number: usize, name: &str) -> Self {
        let worker = number.to_string();
        let handle = |metric| counter(metric).tag("runtime", name).tag("worker", &worker).handle();
        Worker {
            number,
            busy: handle("tokio.worker.busy_time"),
            busy_counted: Duration::ZERO,
            parks: handle("tokio.worker.park_count"),
            parks_counted: 0,
        }
    }

    fn measure(&mut self, runtime: &RuntimeMetrics) {
        let busy = runtime.worker_total_busy_duration(self.number).max(self.busy_counted);
        self.busy.add((busy - self.busy_counted).as_secs_f64());
        self.busy_counted = busy;
        let parks = runtime.worker_park_count(self.number).max(self.parks_counted);
        self.parks.add(parks - self.parks_counted);
        self.parks_counted = parks;
    }
}

/// Runtimes come and go, so their metrics do, too, with their last values.
impl Drop for Watched {
    fn drop(&mut self) {
        self.measure();
        [&self.workers, &self.tasks, &self.queue].into_iter().for_each(|gauge| gauge.clone().retire());
        for worker in &self.each {
            worker.busy.clone().retire();
            worker.parks.clone().retire();
        }
    }
}
