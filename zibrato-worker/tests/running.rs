//! A worker over real sockets: frames in at a broker, totals out at a backend.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::*;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use zibrato_broker::{Broker, Config};
use zibrato_core::ask::Message;
use zibrato_core::frame::{Frame, InstanceId, decode_head, encode_set};
use zibrato_core::{level, limits};
use zibrato_transport::{Asker, Push};
use zibrato_worker::testing::{Act, Memory};
use zibrato_worker::{Accepted, Backend, BackendError, Batch, Options, Series, Snapshot, run};

/// A broker in a task; killed when it is dropped.
struct RunningBroker {
    port: u16,
    task: Option<JoinHandle<()>>,
    /// Its own, and let go without waiting: a socket that receives while its runtime ends may spin for ever.
    runtime: Option<Runtime>,
}

impl Drop for RunningBroker {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

impl RunningBroker {
    async fn start(port: u16, state: Option<&Path>) -> Self {
        let state = state.map(Path::to_path_buf);
        let head_start = Duration::ZERO;
        let runtime = Runtime::new().unwrap();
        let broker = loop {
            let config = Config { port, state: state.clone(), head_start, ..Config::default() };
            match runtime.spawn(Broker::bind(config)).await.unwrap() {
                Ok(broker) => break broker,
                // The port of one that was killed is free in a moment.
                Err(why) if port != 0 => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    eprintln!("{why}");
                }
                Err(why) => panic!("{why}"),
            }
        };
        let port = broker.addresses().port;
        let task = runtime.spawn(async move { broker.run(std::future::pending()).await.unwrap() });
        RunningBroker { port, task: Some(task), runtime: Some(runtime) }
    }

    fn address(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }

    async fn kill(mut self) {
        let task = self.task.take().unwrap();
        task.abort();
        let _ = task.await;
    }
}

/// A worker in a task.
struct RunningWorker {
    state: PathBuf,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), zibrato_worker::Error>>,
}

impl RunningWorker {
    fn start<B: Backend + Clone>(
        broker: &str,
        state: &Path,
        backend: &B,
        change: impl FnOnce(&mut Options),
    ) -> Self {
        let mut options = Options::default();
        options.broker = broker.into();
        options.state = Some(state.into());
        options.flush = Duration::from_millis(100);
        change(&mut options);
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async { drop(stopped.await) };
        let task = tokio::spawn(run(options, backend.clone(), shutdown));
        RunningWorker { state: state.into(), stop, task }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }

    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
        // What it does with its disk goes on until it is done, unlike in a process that is killed.
        until("its state directory is free", || {
            std::fs::File::open(self.state.join("lock")).is_ok_and(|lock| lock.try_lock().is_ok())
        })
        .await;
    }
}

/// The three ports of a broker once more, the one that publishes behind a door.
struct Way {
    port: u16,
    opened: watch::Sender<bool>,
}

impl Way {
    async fn to(broker: u16) -> Way {
        let listen = |port| async move { TcpListener::bind(("127.0.0.1", port)).await };
        let (opened, open) = watch::channel(true);
        loop {
            let first = listen(0).await.unwrap();
            let port = first.local_addr().unwrap().port();
            let Some(last) = port.checked_add(2) else { continue };
            let (Ok(second), Ok(third)) = (listen(port + 1).await, listen(last).await) else { continue };
            let always = watch::channel(true).1;
            let doors = [always.clone(), open, always];
            for ((nth, listener), open) in (0..).zip([first, second, third]).zip(doors) {
                tokio::spawn(relay(listener, broker + nth, open));
            }
            return Way { port, opened };
        }
    }

    /// Shuts the door; done when nobody is in it any more.
    async fn shut(&self) {
        self.opened.send_replace(false);
        until("all that was connected is cut", || self.opened.receiver_count() == 1).await;
    }
}

/// Passes connections on while it is open; what is connected when it closes is cut.
async fn relay(listener: TcpListener, to: u16, open: watch::Receiver<bool>) {
    while let Ok((mut near, _)) = listener.accept().await {
        let mut open = open.clone();
        tokio::spawn(async move {
            if *open.borrow()
                && let Ok(mut far) = TcpStream::connect(("127.0.0.1", to)).await
            {
                let closed = async {
                    if open.wait_for(|open| !open).await.is_err() {
                        std::future::pending::<()>().await;
                    }
                };
                tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => {}
                    () = closed => {}
                }
            }
        });
    }
}

/// Done when the broker keeps this sequence.
async fn kept(broker: &RunningBroker, sequence: u64) {
    let mut asker = Asker::start(&address(broker.port));
    for id in 1.. {
        asker.send(Message::Ask { id, levels: vec![], cursor: None, talking: false });
        loop {
            match timeout(Duration::from_secs(60), asker.recv()).await.unwrap() {
                Message::Kept { frame, .. } if decode_head(&frame).unwrap().sequence == sequence => return,
                Message::Done { .. } => break,
                _ => {}
            }
        }
    }
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn offer(push: &Push, level: &str, mut frame: Frame) {
    // Instances of these tests begin when they are first heard.
    frame.head.sent_at = frame.head.started_at + frame.head.sequence;
    for bytes in encode_set(&frame.head, &frame.rows, limits::FRAME) {
        push.offer(&level::topic(level), bytes.into());
    }
}

fn memory() -> Memory {
    Memory::new().with_resolution(Duration::from_millis(1))
}

fn address(port: u16) -> zibrato_transport::Broker {
    format!("tcp://127.0.0.1:{port}").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totals_arrive_also_in_silence_and_only_of_the_levels_asked_for() {
    let broker = RunningBroker::start(0, None).await;
    let (state, backend) = (tempfile::tempdir().unwrap(), memory());
    let worker = RunningWorker::start(&broker.address(), state.path(), &backend, |options| {
        options.levels = "info".parse().unwrap();
    });
    let push = Push::start(&address(broker.port));
    // One frame, and then silence.
    offer(&push, "info", complete(1, 1, 0, vec![counter("a", 5), timer("t", &[3.0])]));
    offer(&push, "information", complete(1, 1, 0, vec![counter("a", 1000)]));
    offer(&push, "debug", complete(1, 1, 0, vec![counter("a", 1000)]));
    until("the totals are there", || backend.total("a") == 5.0 && backend.total("t") == 1.0).await;
    offer(&push, "info", complete(1, 2, 0, vec![counter("a", 7), timer("t", &[3.0, 9.0])]));
    until("the totals are there", || backend.total("a") == 7.0 && backend.total("t") == 2.0).await;
    worker.stop().await;
    assert_eq!(backend.total("a"), 7.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_was_away_settles_what_it_had_not() {
    let broker = RunningBroker::start(0, None).await;
    let (state, backend) = (tempfile::tempdir().unwrap(), memory());
    let start = || RunningWorker::start(&broker.address(), state.path(), &backend, |_| {});
    let push = Push::start(&address(broker.port));
    let worker = start();
    offer(&push, "info", complete(1, 1, 0, vec![counter("a", 5)]));
    until("the total is there", || backend.total("a") == 5.0).await;
    worker.kill().await;
    // One instance goes on, another one comes and goes.
    offer(&push, "info", complete(1, 2, 0, vec![counter("a", 9)]));
    offer(&push, "info", complete(2, 1, 0, vec![counter("a", 100)]));
    until("the broker has it", || push.stats().sent >= 3).await;
    let worker = start();
    until("the totals are there", || backend.total("a") == 109.0).await;
    worker.stop().await;
    let worker = start();
    offer(&push, "info", complete(1, 3, 0, vec![counter("a", 10)]));
    until("the totals are there", || backend.total("a") == 110.0).await;
    worker.stop().await;
    assert_eq!(backend.total("a"), 110.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_published_while_the_broker_was_not_heard_need_not_be_published_again() {
    let broker = RunningBroker::start(0, None).await;
    let way = Way::to(broker.port).await;
    let (state, backend) = (tempfile::tempdir().unwrap(), memory());
    let through = format!("tcp://127.0.0.1:{}", way.port);
    let worker = RunningWorker::start(&through, state.path(), &backend, |_| {});
    let push = Push::start(&address(broker.port));
    // It sends once a minute, so that the broker does not take it for silent for the time of this test.
    let send = |sequence: u64, total| {
        let frame = complete(1, sequence, (sequence - 1) * 60 * SECOND, vec![counter("a", total)]);
        for bytes in encode_set(&frame.head, &frame.rows, limits::FRAME) {
            push.offer(&level::topic("info"), bytes.into());
        }
    };
    send(1, 5);
    until("the first total is there", || backend.total("a") == 5.0).await;
    send(2, 7);
    until("the second is there", || backend.total("a") == 7.0).await;
    way.shut().await;
    send(3, 9);
    kept(&broker, 3).await;
    assert_eq!(backend.total("a"), 7.0);
    way.opened.send_replace(true);
    until("the third is there", || backend.total("a") == 9.0).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_settles_and_sends_what_there_is() {
    let broker = RunningBroker::start(0, None).await;
    let (state, backend) = (tempfile::tempdir().unwrap(), memory());
    let push = Push::start(&address(broker.port));
    // Nothing is flushed but at the end; how soon a worker hears the frame is the sockets' business.
    let deadline = Instant::now() + Duration::from_secs(60);
    while backend.total("a") != 5.0 {
        assert!(Instant::now() < deadline, "no end has settled the frame");
        let worker = RunningWorker::start(&broker.address(), state.path(), &backend, |options| {
            options.flush = Duration::from_secs(3600);
        });
        offer(&push, "info", complete(1, 1, 0, vec![counter("a", 5)]));
        tokio::time::sleep(Duration::from_millis(500)).await;
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_sent_is_sent_after_the_next_start() {
    let broker = RunningBroker::start(0, None).await;
    let (state, backend) = (tempfile::tempdir().unwrap(), memory());
    let start = || RunningWorker::start(&broker.address(), state.path(), &backend, |_| {});
    let push = Push::start(&address(broker.port));
    backend.will((0..1000).map(|_| Act::Fail(Some(Duration::from_secs(3600)))));
    let worker = start();
    offer(&push, "info", complete(1, 1, 0, vec![counter("a", 5)]));
    until("it was tried", || !backend.requests().is_empty()).await;
    let stopping = Instant::now();
    worker.stop().await;
    assert!(stopping.elapsed() < Duration::from_secs(60), "the end is bounded");
    assert_eq!(backend.total("a"), 0.0);
    backend.recovers();
    let worker = start();
    until("the rest is sent", || backend.total("a") == 5.0).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_may_be_killed_and_one_of_two_is_enough() {
    let (first, second) = (RunningBroker::start(0, None).await, RunningBroker::start(0, None).await);
    let (port, other) = (first.port, second.port);
    let (state, backend) = (tempfile::tempdir().unwrap(), memory());
    let brokers = format!("{},{}", first.address(), second.address());
    let worker = RunningWorker::start(&brokers, state.path(), &backend, |_| {});
    let pushes = [Push::start(&address(port)), Push::start(&address(other))];
    let mut sequence = 0;
    let mut publish = |total: i64| {
        sequence += 1;
        for push in &pushes {
            offer(push, "info", complete(1, sequence, 0, vec![counter("a", total)]));
        }
    };
    publish(5);
    until("the total is there", || backend.total("a") == 5.0).await;
    first.kill().await;
    publish(9);
    until("the total is there", || backend.total("a") == 9.0).await;
    let first = RunningBroker::start(port, None).await;
    second.kill().await;
    until("the first one has come back", || {
        publish(12);
        backend.total("a") == 12.0
    })
    .await;
    worker.stop().await;
    assert_eq!(backend.total("a"), 12.0);
    first.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_harms_nothing() {
    let broker = RunningBroker::start(0, None).await;
    let (state, backend) = (tempfile::tempdir().unwrap(), memory());
    let worker = RunningWorker::start(&broker.address(), state.path(), &backend, |_| {});
    let push = Push::start(&address(broker.port));
    for bytes in [&b""[..], b"\xc1", b"info|Counter|a|1|2|b", &[0x9b; 40], &[0xff; 2000]] {
        push.offer("info|", bytes.to_vec().into());
        push.offer("no topic", bytes.to_vec().into());
    }
    offer(&push, "info", complete(1, 1, 0, vec![counter("a", 5)]));
    until("the total is there", || backend.total("a") == 5.0).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_changes_nothing_on_disk() {
    let broker = RunningBroker::start(0, None).await;
    let (state, backend) = (tempfile::tempdir().unwrap(), memory());
    let directory = state.path().join("none");
    let worker = RunningWorker::start(&broker.address(), &directory, &backend, |options| {
        options.dry_run = true;
    });
    let push = Push::start(&address(broker.port));
    offer(&push, "info", complete(1, 1, 0, vec![counter("a", 5)]));
    until("the frame is sent", || push.stats().sent >= 1).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    worker.stop().await;
    assert!(!directory.exists() && backend.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_share_the_series() {
    let broker = RunningBroker::start(0, None).await;
    let backends = [memory(), memory()];
    let states = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let workers: Vec<RunningWorker> = (0..2)
        .map(|index| {
            RunningWorker::start(&broker.address(), states[index].path(), &backends[index], |options| {
                options.shard = format!("{}/2", index + 1).parse().unwrap();
                options.levels = "info".parse().unwrap();
            })
        })
        .collect();
    let push = Push::start(&address(broker.port));
    let rows = (0..20).map(|n| counter(&format!("m{n}"), n + 1)).collect::<Vec<_>>();
    let mut frame = complete(1, 1, 0, rows);
    frame.head.instance = InstanceId::random();
    offer(&push, "info", frame);
    let sum = |backend: &Memory| backend.totals().values().sum::<f64>();
    until("all totals are there", || backends.iter().map(sum).sum::<f64>() == 210.0).await;
    let [first, second] = backends.map(|backend| backend.totals());
    assert!(!first.is_empty() && !second.is_empty());
    assert!(first.keys().all(|series| !second.contains_key(series)));
    for worker in workers {
        worker.stop().await;
    }
}

/// A backend that holds every request until it is let through.
#[derive(Clone)]
struct Gate {
    memory: Memory,
    begun: Arc<Semaphore>,
    through: Arc<Semaphore>,
}

impl Gate {
    fn new() -> Self {
        let closed = || Arc::new(Semaphore::new(0));
        Gate { memory: memory(), begun: closed(), through: closed() }
    }

    fn sum(&self) -> f64 {
        self.memory.totals().values().sum()
    }
}

impl Backend for Gate {
    const NAME: &'static str = Memory::NAME;

    fn series(&self, series: &mut Series) -> Result<(), String> {
        self.memory.series(series)
    }

    fn resolution(&self) -> Duration {
        self.memory.resolution()
    }

    async fn send(&mut self, batch: &Batch) -> Result<Accepted, BackendError> {
        self.begun.add_permits(1);
        drop(self.through.acquire().await);
        self.memory.send(batch).await
    }

    fn render(&self, batch: &Batch) -> String {
        self.memory.render(batch)
    }
}

fn twenty(id: u8, total: i64) -> Frame {
    complete(id, 1, 0, (0..20).map(|n| counter(&format!("m{id}.{n}"), total)).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_backend_holds_up_neither_new_series_of_a_shard_nor_the_end() {
    let broker = RunningBroker::start(0, None).await;
    let (state, gate) = (tempfile::tempdir().unwrap(), Gate::new());
    let one_of_two = |options: &mut Options| {
        options.shard = "1/2".parse().unwrap();
        options.levels = "info".parse().unwrap();
    };
    let worker = RunningWorker::start(&broker.address(), state.path(), &gate, one_of_two);
    let push = Push::start(&address(broker.port));
    offer(&push, "info", twenty(1, 1));
    gate.begun.acquire().await.unwrap().forget();
    // Long enough for a flush to wait for the backend, and then for new series to come.
    tokio::time::sleep(Duration::from_millis(500)).await;
    offer(&push, "info", twenty(2, 100));
    tokio::time::sleep(Duration::from_millis(500)).await;
    gate.through.add_permits(1);
    until("the new series are there", || gate.sum() >= 100.0).await;

    let before = gate.sum();
    gate.through.acquire().await.unwrap().forget();
    offer(&push, "info", twenty(3, 10_000));
    gate.begun.acquire_many(2).await.unwrap().forget();
    offer(&push, "info", twenty(4, 1_000_000));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let stopping = Instant::now();
    worker.stop().await;
    assert!(stopping.elapsed() < Duration::from_secs(60), "the end is bounded");
    assert_eq!(gate.sum(), before);
    broker.kill().await;
    // Everything was settled all the same, so no broker is needed to send it.
    let worker = RunningWorker::start("tcp://127.0.0.1:1", state.path(), &gate.memory, one_of_two);
    until("the rest is sent", || gate.sum() >= 1_000_000.0).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_is_damaged_while_it_is_used_is_replaced_and_the_worker_goes_on() {
    let broker = RunningBroker::start(0, None).await;
    let (state, backend) = (tempfile::tempdir().unwrap(), memory());
    let worker = RunningWorker::start(&broker.address(), state.path(), &backend, |_| {});
    let push = Push::start(&address(broker.port));
    offer(&push, "info", complete(1, 1, 0, vec![counter("a", 5)]));
    until("the total is there", || backend.total("a") == 5.0).await;
    {
        let db = rusqlite::Connection::open(state.path().join("state.db")).unwrap();
        db.busy_timeout(Duration::from_secs(10)).unwrap();
        db.execute("UPDATE origin SET sequence = sequence + 1", []).unwrap();
    }
    offer(&push, "info", complete(1, 2, 0, vec![counter("a", 7)]));
    let aside = || {
        let files = std::fs::read_dir(state.path()).unwrap().map(|file| file.unwrap().file_name());
        files.filter(|name| name.to_string_lossy().starts_with("state.db.damaged-")).count()
    };
    until("it is moved aside", || aside() > 0).await;
    // It counts from where it was when the worker began anew.
    let settled = || {
        let snapshot = Snapshot::read(state.path()).ok()?;
        let origin = snapshot.origins.into_iter().find(|origin| origin.instance == InstanceId([1; 16]))?;
        Some(origin.amount.counted.whole)
    };
    until("it is taken as settled", || settled() == Some(7)).await;
    let before = backend.total("a");
    assert!(before == 5.0 || before == 7.0, "{before}");
    offer(&push, "info", complete(1, 3, 0, vec![counter("a", 10)]));
    until("what is new is there", || backend.total("a") == before + 3.0).await;
    worker.stop().await;
    assert_eq!(backend.total("a"), before + 3.0);
    let snapshot = Snapshot::read(state.path()).unwrap();
    assert!(snapshot.damaged.0 == 1 && snapshot.faults.is_empty(), "{snapshot:?}");
}
