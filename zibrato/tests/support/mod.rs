//! A real broker on free ports, and what it keeps.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use zibrato_broker::{Broker, Config};
use zibrato_core::ask::Message;
use zibrato_core::frame::{Frame, Key, State, decode};
use zibrato_transport::Asker;

/// Waits for a condition, and fails with `what` where it does not come true.
#[allow(dead_code, reason = "not every test file waits for something of its own")]
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) struct TestBroker {
    pub(crate) url: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl TestBroker {
    pub(crate) fn start() -> Self {
        Self::start_on(0)
    }

    pub(crate) fn start_on(port: u16) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (told, port_told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            Runtime::new().expect("a runtime").block_on(async {
                let config = Config { port, ..Config::default() };
                let broker = Broker::bind(config).await.expect("a broker on free ports");
                told.send(broker.addresses().port).expect("the test waits");
                broker.run(async { drop(stopped.await) }).await.expect("the broker runs");
            });
        });
        let port = port_told.recv_timeout(Duration::from_secs(20)).expect("the broker listens");
        TestBroker { url: format!("tcp://127.0.0.1:{port}"), stop: Some(stop), thread: Some(thread) }
    }

    #[allow(dead_code, reason = "not every test file restarts its broker")]
    pub(crate) fn port(&self) -> u16 {
        self.url.rsplit(':').next().and_then(|p| p.parse().ok()).expect("a port")
    }

    /// The newest row of every metric that the broker keeps, of all instances.
    pub(crate) fn kept(&self) -> Vec<(Key, State)> {
        let mut newest: HashMap<_, (u64, State)> = HashMap::new();
        for (topic, frame) in self.frames() {
            for row in frame.rows {
                let key = (frame.head.instance, topic.clone(), row.key);
                let entry = newest.entry(key).or_insert((0, row.state.clone()));
                if frame.head.sequence > entry.0 {
                    *entry = (frame.head.sequence, row.state);
                }
            }
        }
        newest.into_iter().map(|((_, _, key), (_, state))| (key, state)).collect()
    }

    /// All frames that the broker keeps, with their topics.
    pub(crate) fn frames(&self) -> Vec<(Vec<u8>, Frame)> {
        Runtime::new().expect("a runtime").block_on(async {
            let brokers = zibrato_transport::parse_brokers(&self.url).expect("a url");
            let mut asker = Asker::start(&brokers[0]);
            let mut frames = Vec::new();
            asker.send(Message::Ask { id: 1, levels: vec![], cursor: None, talking: false });
            loop {
                match tokio::time::timeout(Duration::from_secs(10), asker.recv()).await.expect("an answer") {
                    Message::Kept { frame, topic, .. } => {
                        frames.push((topic, decode(&frame).expect("a good frame").frame));
                    }
                    Message::Done { .. } => break,
                    _ => {}
                }
            }
            frames
        })
    }

    /// The total of the counters of this name over all instances.
    pub(crate) fn total(&self, name: &str) -> i64 {
        let total = |(key, state): (Key, State)| match state {
            State::Total(total) if &*key.name == name => total.whole,
            _ => 0,
        };
        self.kept().into_iter().map(total).sum()
    }

    #[allow(dead_code, reason = "not every test file waits for a counter")]
    pub(crate) fn wait_for(&self, name: &str, total: i64) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.total(name) != total {
            assert!(Instant::now() < deadline, "{name} is {} instead of {total}", self.total(name));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[allow(dead_code, reason = "not every test file restarts its broker")]
    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the broker ends cleanly");
        }
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        self.end();
    }
}
