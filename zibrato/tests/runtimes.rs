//! What runtimes of tokio do, with a real broker at the other end.

mod support;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, mpsc};
use std::time::Duration;

use support::{TestBroker, wait_until};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use zibrato_core::frame::State;

/// A publisher calls all callbacks, so tests take turns.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn install(broker: &TestBroker) -> zibrato::Guard {
    let builder = zibrato::builder().broker(&broker.url).interval(Duration::from_millis(20));
    builder.install().expect("nothing is installed")
}

fn runtime(workers: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(workers).enable_all().build().expect("a runtime")
}

/// The values of a metric of one runtime, by worker.
fn values(broker: &TestBroker, runtime: &str, name: &str) -> BTreeMap<String, f64> {
    let value = |(key, state): (zibrato_core::frame::Key, State)| {
        let is_it = &*key.name == name && key.tags.get("runtime") == Some(runtime);
        let worker = key.tags.get("worker").unwrap_or_default().to_string();
        match state {
            State::Gauge(gauge) if is_it => Some((worker, gauge.value)),
            State::Total(total) if is_it => Some((worker, total.value())),
            _ => None,
        }
    };
    broker.kept().into_iter().filter_map(value).collect()
}

fn value(broker: &TestBroker, runtime: &str, name: &str) -> Option<f64> {
    values(broker, runtime, name).into_values().reduce(|a, b| a + b)
}

#[test]
fn two_runtimes_are_told_apart() {
    let _turn = turn();
    let broker = TestBroker::start();
    let (main, side) = (runtime(2), runtime(1));
    let watching = zibrato::tokio::watch(main.handle(), "main");
    zibrato::tokio::watch(side.handle(), "side").detach();
    let guard = install(&broker);
    wait_until("workers are seen", || value(&broker, "main", "tokio.worker.count") == Some(2.0));
    assert_eq!(value(&broker, "side", "tokio.worker.count"), Some(1.0));

    let (stop, stopped): (Vec<_>, Vec<_>) = (0..5).map(|_| oneshot::channel::<()>()).unzip();
    let tasks: Vec<_> = stopped.into_iter().map(|stopped| main.spawn(stopped)).collect();
    wait_until("tasks are seen", || value(&broker, "main", "tokio.task.count") == Some(5.0));
    drop(stop);
    tasks.into_iter().for_each(|task| drop(main.block_on(task)));
    wait_until("no tasks are seen", || value(&broker, "main", "tokio.task.count") == Some(0.0));

    let (unblock, blocked) = mpsc::channel::<()>();
    let (runs, running) = mpsc::channel();
    side.spawn(async move { runs.send(()).is_ok() && blocked.recv().is_ok() });
    running.recv().expect("the task runs");
    // They wait for the only worker.
    let waiting: Vec<_> = (0..7).map(|_| side.spawn(async {})).collect();
    wait_until("a queue is seen", || {
        value(&broker, "side", "tokio.global_queue.depth").is_some_and(|n| n >= 1.0)
    });
    drop(unblock);
    waiting.into_iter().for_each(|task| drop(side.block_on(task)));
    wait_until("the queue is gone", || value(&broker, "side", "tokio.global_queue.depth") == Some(0.0));

    main.block_on(async {
        let busy = tokio::spawn(async { std::thread::sleep(Duration::from_millis(100)) });
        busy.await.expect("no panic");
    });
    wait_until("a worker was busy", || {
        value(&broker, "main", "tokio.worker.busy_time").is_some_and(|s| s >= 0.1)
    });
    wait_until("workers parked", || {
        value(&broker, "main", "tokio.worker.park_count").is_some_and(|n| n >= 1.0)
    });
    assert_eq!(values(&broker, "main", "tokio.worker.busy_time").len(), 2, "one for each worker");

    // What is counted in a next instance comes after what was counted in this one.
    drop(guard);
    let first = value(&broker, "main", "tokio.worker.busy_time").expect("workers were busy");
    let broker = TestBroker::start();
    let guard = install(&broker);
    main.block_on(async { tokio::spawn(async {}).await.expect("no panic") });
    // A worker adds to its time when it has nothing to do any more.
    wait_until("the next instance reports", || {
        value(&broker, "main", "tokio.worker.busy_time").is_some_and(|s| s > 0.0)
    });
    let second = value(&broker, "main", "tokio.worker.busy_time").unwrap_or_default();
    let metrics = main.metrics();
    let all: Duration = (0..2).map(|worker| metrics.worker_total_busy_duration(worker)).sum();
    assert!(first + second <= all.as_secs_f64() + 1e-6, "{first} + {second} s of {all:?}");

    drop(watching);
    drop(main);
    let metrics = || zibrato_core::registry::read_own_thread();
    wait_until("the metrics of a runtime that is not watched leave", || {
        !metrics().iter().any(|r| r.id.tags.get("runtime") == Some("main"))
    });
    assert!(metrics().iter().any(|r| r.id.tags.get("runtime") == Some("side")));
    drop(guard);
}

#[test]
fn a_runtime_of_one_thread_is_its_own_worker() {
    let _turn = turn();
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _watching = zibrato::tokio::watch(runtime.handle(), "current");
    runtime.block_on(async {
        tokio::spawn(async { std::thread::sleep(Duration::from_millis(20)) }).await.expect("no panic");
        tokio::time::sleep(Duration::from_millis(1)).await;
    });
    let value = |name: &str| {
        zibrato_core::callback::call_all();
        let mut readings = zibrato_core::registry::read().into_iter();
        readings.find_map(|reading| match reading.state {
            _ if &*reading.id.name != name || reading.id.tags.get("runtime") != Some("current") => None,
            State::Gauge(gauge) => Some(gauge.value),
            State::Total(total) => Some(total.value()),
            _ => None,
        })
    };
    wait_until("one worker is seen", || value("tokio.worker.count") == Some(1.0));
    wait_until("no task is left", || value("tokio.task.count") == Some(0.0));
    wait_until("it was busy", || value("tokio.worker.busy_time").is_some_and(|s| s >= 0.02));
    wait_until("it has parked", || value("tokio.worker.park_count").is_some_and(|n| n >= 1.0));
}

#[test]
fn what_was_watched_only_between_two_reads_is_told() {
    let _turn = turn();
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let watching = zibrato::tokio::watch(runtime.handle(), "short");
    runtime.block_on(async { tokio::spawn(async {}).await.expect("no panic") });
    let ((), captured) = zibrato::testing::capture(|| drop(watching));
    let captured = captured.with_tag("runtime", "short");
    assert_eq!(captured.gauge("tokio.worker.count"), Some(1.0));
    assert!(captured.value("tokio.worker.busy_time") > 0.0);
}
