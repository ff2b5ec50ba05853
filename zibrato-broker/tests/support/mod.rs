//! A broker under test, and clients that speak ZeroMQ to it.
#![allow(dead_code, unreachable_pub)] // Every test file uses another part of it.
#![allow(clippy::unwrap_used)] // It is for tests only.

pub mod raw;

use std::time::{Duration, Instant};

use omq_tokio::{Message as Raw, Options, Socket, SocketType};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use zibrato_broker::{Addresses, Broker, Config};
use zibrato_core::ask::Message;
use zibrato_core::frame::{Flags, Head, InstanceId, Key, Kind, Row, State, Tags, Total, decode, encode_set};

/// Longer than anything takes on a busy machine; reached only when something is wrong.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub struct Running {
    pub addresses: Addresses,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<()>>,
    /// Its own, and let go without waiting: a socket that receives while its runtime ends may spin for ever.
    runtime: Option<Runtime>,
}

impl Running {
    pub async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.task.take().unwrap().await.unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

pub fn config() -> Config {
    Config { port: 0, head_start: Duration::ZERO, ..Config::default() }
}

pub async fn start(config: Config) -> Running {
    let runtime = Runtime::new().unwrap();
    let broker = runtime.spawn(Broker::bind(config)).await.unwrap().unwrap();
    let addresses = broker.addresses().clone();
    let (stop, stopped) = oneshot::channel();
    let task = runtime.spawn(async move {
        broker.run(async { drop(stopped.await) }).await.unwrap();
    });
    Running { addresses, stop: Some(stop), task: Some(task), runtime: Some(runtime) }
}

pub fn connect_options() -> Options {
    let mut options = Options::default().send_hwm(100_000).recv_hwm(100_000);
    options.linger = Some(Duration::from_secs(5));
    options
}

pub async fn connected(kind: SocketType, address: &str) -> Socket {
    let socket = Socket::new(kind, connect_options());
    socket.connect(address).await.unwrap();
    socket
}

/// A subscriber that is there: it has seen a beat.
pub async fn subscriber(addresses: &Addresses, topics: &[&str]) -> Socket {
    let socket = connected(SocketType::Sub, &addresses.publish).await;
    for topic in topics {
        socket.subscribe(topic.as_bytes().to_vec()).await.unwrap();
    }
    socket.subscribe("beat|").await.unwrap();
    let seen = async {
        loop {
            let message = socket.recv().await.unwrap();
            if message.part_slice(0) == Some(b"beat|") {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, seen).await.expect("no beat came");
    socket
}

/// The next message that is neither a beat nor the broker's own.
pub async fn next(socket: &Socket) -> Vec<Vec<u8>> {
    let other = async {
        loop {
            let parts = parts(&socket.recv().await.unwrap());
            if parts[0] != b"beat|" && parts[0] != b"zibrato|" {
                return parts;
            }
        }
    };
    tokio::time::timeout(DEADLINE, other).await.expect("nothing came")
}

pub fn parts(message: &Raw) -> Vec<Vec<u8>> {
    (0..message.len()).map(|i| message.part_slice(i).unwrap().to_vec()).collect()
}

pub async fn push(socket: &Socket, topic: &str, frame: &[u8]) {
    socket.send(Raw::multipart([topic.as_bytes().to_vec(), frame.to_vec()])).await.unwrap();
}

pub async fn send(socket: &Socket, message: &Message) {
    socket.send(Raw::multipart(message.encode())).await.unwrap();
}

pub async fn receive(socket: &Socket) -> Message {
    let message = tokio::time::timeout(DEADLINE, socket.recv()).await.expect("no answer came").unwrap();
    Message::decode(&parts(&message)).unwrap()
}

/// Asks for everything of these levels; the frames of the answer and its cursor.
pub async fn ask(
    socket: &Socket,
    levels: &[&str],
    cursor: Option<zibrato_core::ask::Cursor>,
) -> (Vec<(u64, Vec<u8>, Vec<u8>)>, zibrato_core::ask::Cursor) {
    let levels = levels.iter().map(|l| l.to_string()).collect();
    send(socket, &Message::Ask { id: 7, levels, cursor, talking: false }).await;
    let mut kept = Vec::new();
    loop {
        match receive(socket).await {
            Message::Kept { id: 7, index, held, topic, frame } => {
                assert_eq!(index, kept.len() as u64);
                kept.push((held, topic, frame));
            }
            Message::Done { id: 7, count, cursor } => {
                assert_eq!(count, kept.len() as u64);
                return (kept, cursor);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// What the broker tells about itself.
pub async fn info(socket: &Socket) -> serde_json::Value {
    send(socket, &Message::Info { id: 1 }).await;
    loop {
        if let Message::Told { json, .. } = receive(socket).await {
            return serde_json::from_str(&json).unwrap();
        }
    }
}

/// Asks for the broker's counts until they are as wanted.
pub async fn until(socket: &Socket, wanted: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    let start = Instant::now();
    loop {
        let told = info(socket).await;
        if wanted(&told) {
            return told;
        }
        assert!(start.elapsed() < DEADLINE, "it stayed at {told}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn head(instance: u8, sequence: u64, flags: Flags) -> Head {
    Head {
        instance: InstanceId([instance; 16]),
        started_at: 1_000,
        sequence,
        base: if flags.has(Flags::COMPLETE) { sequence } else { 0 },
        part: 0,
        parts: 1,
        sent_at: 2_000 + sequence,
        flags,
        source: "host".into(),
    }
}

pub fn counter(name: &str, total: i64) -> Row {
    let (source, tags) = ("host".into(), Tags::none());
    let key = Key { kind: Kind::Counter, name: name.into(), source, tags, born: 1_000 };
    Row { key, state: State::Total(Total::whole(total)), trace: None, event: None }
}

/// One frame of a complete set.
pub fn complete(instance: u8, sequence: u64, total: i64) -> Vec<u8> {
    encode_set(&head(instance, sequence, Flags::COMPLETE), &[counter("c", total)], 1 << 20).remove(0)
}

/// The frames of a last set, in parts of at most `limit` bytes.
pub fn last(instance: u8, sequence: u64, rows: &[Row], limit: usize) -> Vec<Vec<u8>> {
    encode_set(&head(instance, sequence, Flags::COMPLETE.with(Flags::LAST)), rows, limit)
}

/// The whole totals in a frame, by name.
pub fn totals(frame: &[u8]) -> Vec<(String, i64)> {
    let rows = decode(frame).unwrap().frame.rows;
    rows.iter()
        .map(|row| match row.state {
            State::Total(total) => (row.key.name.to_string(), total.whole),
            _ => panic!("{row:?}"),
        })
        .collect()
}
