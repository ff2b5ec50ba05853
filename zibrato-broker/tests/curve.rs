//! The broker with keys, against this workspace's own clients: who is let in, who is put out, and what is altered or
//! repeated on the way. `secure.py` has the same of libzmq's.
#![allow(clippy::unwrap_used)] // Also in what the tests share.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use omq_proto::proto::connection::{Connection, ConnectionConfig, Event as Said, Role};
use omq_proto::{CurveKeypair, CurvePublicKey, CurveSecretKey, MechanismSetup, SocketType};
use support::raw::resident;
use support::{DEADLINE, Running, complete, config, start};
use zibrato_broker::{Config, ConnectionLimits};
use zibrato_core::ask::Message;
use zibrato_keys::{Identity, KeyPair};
use zibrato_transport::{Asker, Broker, Event, Push, Security, Subscriber};

/// A broker and whom it lets in.
struct Secured {
    running: Running,
    own: KeyPair,
    people: Vec<(&'static str, KeyPair)>,
    allow: PathBuf,
    _directory: tempfile::TempDir,
}

const ALL: [&str; 3] = ["app", "worker", "operator"];

fn let_in(allow: &Path, people: &[(&str, KeyPair)], names: &[&str]) {
    let mut text = String::new();
    for (name, pair) in people.iter().filter(|(name, _)| names.contains(name)) {
        let mut identity = Identity::new(*name, vec![pair.public()]);
        (identity.may_send, identity.may_receive) = (*name != "worker", *name != "app");
        text += &identity.to_toml();
    }
    let fresh = allow.with_extension("new");
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(fresh, allow).unwrap();
}

impl Secured {
    async fn start(connections: ConnectionLimits) -> Secured {
        let directory = tempfile::tempdir().unwrap();
        let own = KeyPair::generate().unwrap();
        let people = ALL.map(|name| (name, KeyPair::generate().unwrap())).to_vec();
        let allow = directory.path().join("allowed.toml");
        let_in(&allow, &people, &ALL);
        let config = Config { keys: Some(own.clone()), allow: Some(allow.clone()), connections, ..config() };
        Secured { running: start(config).await, own, people, allow, _directory: directory }
    }

    /// Lets in these and nobody else.
    fn let_in(&self, names: &[&str]) {
        let_in(&self.allow, &self.people, names);
    }

    fn pair(&self, name: &str) -> &KeyPair {
        &self.people.iter().find(|(own, _)| *own == name).unwrap().1
    }

    fn seen_by(&self, name: &str) -> Broker {
        self.seen_with(Security::Curve { own: self.pair(name).clone(), broker: self.own.public() })
    }

    fn seen_with(&self, security: Security) -> Broker {
        Broker::new("127.0.0.1", self.running.addresses.port).secured(security)
    }

    async fn info(&self) -> serde_json::Value {
        let mut asker = Asker::start(&self.seen_by("operator"));
        loop {
            asker.send(Message::Info { id: 1 });
            if let Ok(Message::Told { json, .. }) =
                tokio::time::timeout(Duration::from_secs(1), asker.recv()).await
            {
                return serde_json::from_str(&json).unwrap();
            }
        }
    }

    async fn until(&self, wanted: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        within("what the broker should tell", async {
            loop {
                let told = self.info().await;
                if wanted(&told) {
                    return told;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
    }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(2 * DEADLINE, future).await.unwrap_or_else(|_| panic!("never happened: {what}"))
}

async fn soon(what: &str, condition: impl Fn() -> bool) {
    within(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// The next frame of a level; silence and returns aside.
async fn next(subscriber: &mut Subscriber) -> Bytes {
    within("a frame", async {
        loop {
            if let Event::Message { topic, frame, .. } = subscriber.recv().await
                && topic == "info|"
            {
                return frame;
            }
        }
    })
    .await
}

/// A subscriber that has heard the broker.
async fn subscriber(broker: &Broker) -> Subscriber {
    let mut subscriber = Subscriber::start(std::slice::from_ref(broker), &["info|".into()]);
    within("a beat", async { while !matches!(subscriber.recv().await, Event::Back { .. }) {} }).await;
    subscriber
}

/// Sends frame after frame until one of them is there.
async fn passes(push: &Push, subscriber: &mut Subscriber, sequence: &mut u64) {
    within("a frame", async {
        loop {
            *sequence += 1;
            push.offer("info|", complete(1, *sequence, 1).into());
            let wait = Duration::from_millis(100);
            let heard = tokio::time::timeout(wait, subscriber.recv()).await;
            if matches!(heard, Ok(Event::Message { .. })) {
                return;
            }
        }
    })
    .await;
}

/// What is done with the bytes of a client on their way.
type Change = Arc<Mutex<Box<dyn FnMut(Vec<u8>) -> Vec<Vec<u8>> + Send>>>;

/// Passes bytes between clients and a port of the broker; gives where, and what keeps all that the broker has said.
fn between(to: &str, port_offset: u16) -> (Broker, Change, Arc<Mutex<Vec<u8>>>) {
    let to = to.trim_start_matches("tcp://").to_owned();
    let change: Change = Arc::new(Mutex::new(Box::new(|bytes| vec![bytes])));
    let said = Arc::new(Mutex::new(Vec::new()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (changing, heard) = (change.clone(), said.clone());
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(&to) else { continue };
            let (up, down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let (changing, heard) = (changing.clone(), heard.clone());
            std::thread::spawn(move || pass(up, down, |bytes| (*changing.lock().unwrap())(bytes)));
            std::thread::spawn(move || {
                pass(server, client, |bytes| {
                    heard.lock().unwrap().extend(&bytes);
                    vec![bytes]
                });
            });
        }
    });
    (Broker::new("127.0.0.1", port - port_offset), change, said)
}

fn pass(mut from: TcpStream, mut to: TcpStream, mut with: impl FnMut(Vec<u8>) -> Vec<Vec<u8>>) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if !with(bytes[..length].to_vec()).iter().all(|piece| to.write_all(piece).is_ok()) {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn frames_of_all_sizes_and_answers_pass_and_nobody_on_the_way_reads_them() {
    let broker = Secured::start(ConnectionLimits::default()).await;
    let (at, _, said) = between(&broker.running.addresses.publish, 1);
    let security = broker.seen_by("worker").security().clone();
    let mut seen = subscriber(&at.secured(security)).await;
    let push = Push::start(&broker.seen_by("app"));
    let sizes = (0..200).map(|i| 100 + i * 37).chain((8..20).map(|i| 1 << i)).chain([(1 << 20) - 7]);
    for (sequence, size) in (1..).zip(sizes) {
        let mut frame = complete(1, sequence, 1);
        frame.resize(frame.len().max(size), 7);
        assert!(push.offer("info|", frame.clone().into()));
        assert!(next(&mut seen).await == frame, "{sequence}");
    }
    let mut asker = Asker::start(&broker.seen_by("worker"));
    asker.send(Message::Ask { id: 3, levels: vec!["info".into()], cursor: None, talking: false });
    let kept = within("an answer", asker.recv()).await;
    assert!(matches!(&kept, Message::Kept { id: 3, frame, .. } if frame.len() == (1 << 20) - 7), "{kept:?}");
    assert!(matches!(within("its end", asker.recv()).await, Message::Done { id: 3, count: 1, .. }));
    let said = said.lock().unwrap().clone();
    let has = |text: &[u8]| said.windows(text.len()).any(|window| window == text);
    assert!(has(b"\x07MESSAGE"));
    assert!(!has(b"info|") && !has(b"host") && !has(b"beat|"));
    assert_eq!(broker.info().await["rejected"], serde_json::json!({}));
    broker.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn strangers_read_nothing_send_nothing_and_are_counted() {
    let broker = Secured::start(ConnectionLimits::default()).await;
    let mut good = subscriber(&broker.seen_by("worker")).await;
    let push = Push::start(&broker.seen_by("app"));
    let stranger = KeyPair::generate().unwrap();
    let cases = [
        (Security::Curve { own: stranger.clone(), broker: broker.own.public() }, "unknown_key"),
        (Security::Curve { own: broker.pair("app").clone(), broker: stranger.public() }, "other_broker_key"),
        (Security::Plain, "mechanism"),
    ];
    let mut sequence = 0;
    for (security, reason) in cases {
        let at = broker.seen_with(security);
        let mut sub = Subscriber::start(std::slice::from_ref(&at), &[String::new()]);
        let (bad_push, mut asker) = (Push::start(&at), Asker::start(&at));
        bad_push.offer("info|", complete(66, 1, 1).into());
        asker.send(Message::Info { id: 1 });
        asker.send(Message::Hand { topic: b"info|".to_vec(), frame: complete(66, 2, 1) });
        broker.until(|told| told["rejected"][reason].as_u64() >= Some(3)).await;
        for _ in 0..20 {
            passes(&push, &mut good, &mut sequence).await;
        }
        let heard = async {
            loop {
                let event = sub.recv().await;
                assert!(matches!(event, Event::Silent { .. } | Event::Refused { .. }), "{reason}: {event:?}");
            }
        };
        assert!(tokio::time::timeout(Duration::from_millis(50), heard).await.is_err());
        assert!(tokio::time::timeout(Duration::from_millis(50), asker.recv()).await.is_err());
        assert!(!bad_push.stats().connected && !asker.stats().connected, "{reason}");
    }
    let told = broker.info().await;
    assert_eq!(told["levels"]["info"]["instances"], 1, "{told}");
    broker.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_altered_or_repeated_ends_the_connection_and_the_next_one_works() {
    let broker = Secured::start(ConnectionLimits::default()).await;
    let mut seen = subscriber(&broker.seen_by("worker")).await;
    let (at, change, _) = between(&broker.running.addresses.push, 0);
    let push = Push::start(&at.secured(broker.seen_by("app").security().clone()));
    let mut sequence = 0;
    passes(&push, &mut seen, &mut sequence).await;
    type Alter = fn(Vec<u8>) -> Vec<Vec<u8>>;
    let alter: [(&str, Alter); 2] = [
        ("tampered", |mut bytes| {
            *bytes.last_mut().unwrap() ^= 1;
            vec![bytes]
        }),
        ("replayed", |bytes| vec![bytes.clone(), bytes]),
    ];
    for (reason, alter) in alter {
        let mut times = 1;
        *change.lock().unwrap() = Box::new(move |bytes| {
            let is_frame = bytes.windows(8).any(|window| window == b"\x07MESSAGE");
            if times == 0 || !is_frame {
                return vec![bytes];
            }
            times -= 1;
            alter(bytes)
        });
        let before = broker.info().await["frames_in"].as_u64().unwrap();
        sequence += 1;
        push.offer("info|", complete(1, sequence, 1).into());
        let told = broker.until(|told| told["rejected"][reason].as_u64() == Some(1)).await;
        let passed = told["frames_in"].as_u64().unwrap() - before;
        assert!(passed <= 1, "{reason}: at most the first of two that are alike");
        // On a new connection.
        passes(&push, &mut seen, &mut sequence).await;
    }
    broker.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_recorded_session_opens_nothing() {
    let broker = Secured::start(ConnectionLimits::default()).await;
    let mut seen = subscriber(&broker.seen_by("worker")).await;
    let (at, change, _) = between(&broker.running.addresses.push, 0);
    let recorded = Arc::new(Mutex::new(Vec::new()));
    let record = recorded.clone();
    *change.lock().unwrap() = Box::new(move |bytes| {
        record.lock().unwrap().extend(&bytes);
        vec![bytes]
    });
    let push = Push::start(&at.secured(broker.seen_by("app").security().clone()));
    let mut sequence = 0;
    passes(&push, &mut seen, &mut sequence).await;
    let before = broker.info().await["frames_in"].as_u64().unwrap();
    let session = recorded.lock().unwrap().clone();
    let address = broker.running.addresses.push.trim_start_matches("tcp://").to_owned();
    // All that an application has ever said, said again.
    let mut again = TcpStream::connect(address).unwrap();
    again.write_all(&session).unwrap();
    again.set_read_timeout(Some(DEADLINE)).unwrap();
    assert!(support::raw::has_ended(&mut again));
    let told = broker.until(|told| told["rejected"]["bad_curve"].as_u64() >= Some(1)).await;
    assert!(told["frames_in"].as_u64().unwrap() <= before + 1, "{told}");
    broker.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_is_no_longer_allowed_is_put_out_of_every_port_and_comes_back_when_allowed() {
    let broker = Secured::start(ConnectionLimits::default()).await;
    let (mut worker, mut operator) =
        (subscriber(&broker.seen_by("worker")).await, subscriber(&broker.seen_by("operator")).await);
    let (app, other) = (Push::start(&broker.seen_by("app")), Push::start(&broker.seen_by("operator")));
    let asker = Asker::start(&broker.seen_by("worker"));
    let mut sequence = 0;
    passes(&app, &mut worker, &mut sequence).await;
    soon("connections", || asker.stats().connected).await;
    broker.let_in(&["operator"]);
    // Of the two that are gone: one that pushes, one that subscribes, one that asks.
    broker.until(|told| told["rejected"]["revoked"] == 3).await;
    soon("refusals", || {
        app.stats().refused > 0 && asker.stats().refused > 0 && worker.refused() > 0 && !app.stats().connected
    })
    .await;
    for _ in 0..20 {
        passes(&other, &mut operator, &mut sequence).await;
    }
    let kept = broker.info().await["frames_in"].as_u64().unwrap();
    app.offer("info|", complete(1, 1 << 40, 1).into());
    let heard = async {
        loop {
            match worker.recv().await {
                Event::Message { frame, .. } if frame == complete(1, sequence, 1) => return,
                _ => {}
            }
        }
    };
    assert!(tokio::time::timeout(Duration::from_millis(300), heard).await.is_err(), "it reads on");
    assert_eq!(broker.info().await["frames_in"], kept);
    broker.let_in(&ALL);
    passes(&app, &mut worker, &mut sequence).await;
    soon("the asker", || asker.stats().connected).await;
    broker.running.stop().await;
}

/// A client's end of a connection after its handshake, for what no client of ours would do.
fn raw(broker: &Secured, name: &str, kind: SocketType, address: &str) -> (TcpStream, Connection) {
    let pair = broker.pair(name);
    let our_keypair = CurveKeypair {
        public: CurvePublicKey::from_bytes(*pair.public().as_bytes()),
        secret: CurveSecretKey::from_bytes(*pair.secret().reveal()),
    };
    let server_public = CurvePublicKey::from_bytes(*broker.own.public().as_bytes());
    let mechanism = MechanismSetup::CurveClient { our_keypair, server_public };
    let mut codec = Connection::new(ConnectionConfig::new(Role::Client, kind).mechanism(mechanism));
    // The kernel holds little, so that the broker has to.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let to: std::net::SocketAddr = address.trim_start_matches("tcp://").parse().unwrap();
    socket.connect(&to.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    let mut input = vec![0; 4096];
    loop {
        stream.write_all(&codec.poll_transmit()).unwrap();
        codec.advance_transmit(codec.pending_transmit_size());
        if matches!(codec.poll_event(), Some(Said::HandshakeSucceeded { .. })) {
            return (stream, codec);
        }
        let length = stream.read(&mut input).unwrap();
        assert!(length > 0, "refused");
        codec.handle_input(Bytes::copy_from_slice(&input[..length])).unwrap();
    }
}

fn transmit(stream: &mut TcpStream, codec: &mut Connection) -> std::io::Result<()> {
    for chunk in codec.clone_transmit_chunks() {
        stream.write_all(&chunk)?;
    }
    codec.advance_transmit(codec.pending_transmit_size());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_has_not_come_whole_is_bounded_also_where_it_is_encrypted() {
    let limits = ConnectionLimits { incoming_bytes: 4 << 20, ..Default::default() };
    let broker = Secured::start(limits).await;
    let before = resident();
    let mut held = Vec::new();
    for number in 0..150 {
        let (mut stream, mut codec) = raw(&broker, "app", SocketType::Push, &broker.running.addresses.push);
        if number % 2 == 0 {
            // Half of one part.
            let part = vec![7; 1_000_000];
            codec.send_message(&omq_proto::Message::multipart([part])).unwrap();
            let all: Vec<u8> = codec.clone_transmit_chunks().concat();
            let _ = stream.write_all(&all[..900_000]);
        } else {
            // Whole parts, but not the last of them.
            let parts = (0..20).map(|_| vec![7; 45_000]).chain([vec![]]);
            codec.send_message(&omq_proto::Message::multipart(parts)).unwrap();
            let all: Vec<u8> = codec.clone_transmit_chunks().concat();
            let _ = stream.write_all(&all[..all.len() - 20]);
        }
        held.push(stream);
    }
    let told = broker.until(|told| told["rejected"]["unfinished"].as_u64() >= Some(100)).await;
    assert!(told["incoming_bytes"].as_u64().unwrap() <= 6 << 20, "{told}");
    let grown = resident().saturating_sub(before);
    assert!(grown < 80 << 20, "grew by {grown} bytes");
    // A message of any size goes through still, in many pieces.
    let mut seen = subscriber(&broker.seen_by("worker")).await;
    let (mut stream, mut codec) = raw(&broker, "app", SocketType::Push, &broker.running.addresses.push);
    let mut frame = complete(1, 1, 1);
    frame.resize(1 << 20, 7);
    let parts = [b"info|".to_vec(), frame.clone()];
    codec.send_message(&omq_proto::Message::multipart(parts)).unwrap();
    let all: Vec<u8> = codec.clone_transmit_chunks().concat();
    for piece in all.chunks(100_001) {
        stream.write_all(piece).unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(next(&mut seen).await == frame);
    assert_eq!(broker.info().await["rejected"].as_object().unwrap().len(), 1);
    broker.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_waits_for_subscribers_that_do_not_read_is_bounded_also_where_it_is_encrypted() {
    let limits = ConnectionLimits { outgoing_bytes: 8 << 20, ..Default::default() };
    let broker = Secured::start(limits).await;
    let mut stopped = Vec::new();
    for _ in 0..100 {
        let (mut stream, mut codec) =
            raw(&broker, "worker", SocketType::Sub, &broker.running.addresses.publish);
        let subscribe = omq_proto::proto::Command::Subscribe(Bytes::from_static(b"info|"));
        codec.send_command(&subscribe).unwrap();
        transmit(&mut stream, &mut codec).unwrap();
        stopped.push(stream);
    }
    let mut seen = subscriber(&broker.seen_by("operator")).await;
    let push = Push::start(&broker.seen_by("app"));
    let before = resident();
    for sequence in 1..=30 {
        let mut frame = complete(1, sequence, 1);
        frame.resize(300_000, 7);
        push.offer("info|", frame.clone().into());
        assert!(next(&mut seen).await == frame);
    }
    let told = broker.info().await;
    assert!(told["frames_dropped"].as_u64() > Some(0), "{told}");
    let grown = resident().saturating_sub(before);
    assert!(grown < 34 << 20, "grew by {grown} bytes");
    drop(stopped);
    broker.running.stop().await;
}
