//! The three ends against libzmq's CURVE, which stands on libsodium, with key files of both makes.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests are not marked as tests")]

mod support;

use bytes::Bytes;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use support::*;
use zibrato_core::ask::Message;
use zibrato_keys::{Files, KeyPair};
use zibrato_transport::{Asker, Broker, Event, KeyFiles, Push, Subscriber};

/// The interpreter with what `examples/python/requirements.txt` lists, which `cargo xtask test` prepares.
fn python() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let python = target.join("python/bin/python");
    let mut import = Command::new(&python);
    let status = import.args(["-c", "import zmq"]).stderr(Stdio::null()).status();
    if status.is_ok_and(|status| status.success()) {
        return Some(python);
    }
    let missing = format!("{} has no pyzmq; `cargo xtask test` installs it there", python.display());
    assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "{missing}");
    eprintln!("skipped: {missing}");
    None
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn told() -> Message {
    Message::Told { id: 1, json: "{}".into() }
}

/// libzmq's sockets, and where a client finds its keys.
struct Servers {
    child: Child,
    folder: tempfile::TempDir,
    broker: Broker,
}

impl Servers {
    fn start(python: &Path) -> Servers {
        let folder = tempfile::tempdir().unwrap();
        Files::of(&folder.path().join("clients"), "client")
            .unwrap()
            .write(&KeyPair::generate().unwrap())
            .unwrap();
        Files::of(folder.path(), "stranger").unwrap().write(&KeyPair::generate().unwrap()).unwrap();
        let broker = free();
        let answer: Vec<String> = told().encode().iter().map(hex).collect();
        let mut command = Command::new(python);
        command
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/curve_servers.py"))
            .arg(folder.path())
            .args([broker.port.to_string(), hex(beat(7).part_slice(1).unwrap()), answer.join(",")]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n");
        Servers { child, folder, broker }
    }

    /// The broker as a client sees it that has these keys.
    fn seen_with(&self, own: &str, broker: &str) -> Broker {
        let path = |name: &str| self.folder.path().join(name);
        let files = KeyFiles { key: Some(path(own)), broker_key: Some(path(broker).display().to_string()) };
        let mut brokers = [self.broker.clone()];
        files.secure(&mut brokers).unwrap();
        let [broker] = brokers;
        broker
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A frame of that number and that size at least.
fn frame(number: u32, size: usize) -> Bytes {
    let mut frame: Vec<u8> = (0..size).map(|i| (i as u32 ^ number) as u8).collect();
    frame.splice(..0, number.to_be_bytes());
    frame.into()
}

#[tokio::test]
async fn frames_questions_and_answers_pass_libzmq() {
    let Some(python) = python() else { return };
    let servers = Servers::start(&python);
    let broker = servers.seen_with("clients/client.key_secret", "server.key");
    let mut subscriber = Subscriber::start(std::slice::from_ref(&broker), &["info|".into()]);
    within("the first beat", async {
        while !matches!(subscriber.recv().await, Event::Back { boot: [7, ..], .. }) {}
    })
    .await;
    let push = Push::start(&broker);
    let sizes = (0..500).chain((0..20).map(|i| 1 << i)).chain((0..500).map(|i| i * 37));
    for (number, size) in (0..).zip(sizes) {
        let sent = frame(number, size);
        assert!(push.offer("other|", sent.clone()), "which nobody wants");
        assert!(push.offer("info|", sent.clone()));
        let got = within("the frame", async {
            loop {
                match subscriber.recv().await {
                    Event::Message { topic, frame, .. } => return (topic, frame),
                    event => assert!(matches!(event, Event::Silent { .. } | Event::Back { .. }), "{event:?}"),
                }
            }
        })
        .await;
        assert_eq!(got, ("info|".into(), sent));
    }
    let mut asker = Asker::start(&broker);
    asker.send(Message::Info { id: 1 });
    assert_eq!(within("the answer", asker.recv()).await, told());
    // Long enough for the heartbeats to miss whoever does not answer them.
    tokio::time::sleep(Duration::from_secs(2)).await;
    asker.send(Message::Info { id: 2 });
    assert_eq!(within("the answer", asker.recv()).await, told());
    assert_eq!((push.stats().refused, asker.stats().refused, subscriber.refused()), (0, 0, 0));
    assert_eq!((push.stats().reconnects, asker.stats().reconnects), (0, 0));
    assert!(push.close(PATIENCE).await && asker.close(PATIENCE).await);
}

#[tokio::test]
async fn strangers_are_refused_by_either_side() {
    let Some(python) = python() else { return };
    let servers = Servers::start(&python);
    for (own, broker, expected) in [
        ("stranger.key_secret", "server.key", "our key"),
        ("clients/client.key_secret", "stranger.key", "is it the owner of the broker key"),
    ] {
        let push = Push::start(&servers.seen_with(own, broker));
        push.offer("info|", frame(1, 10));
        soon("a refusal", || push.stats().refused > 0).await;
        let why = push.trouble().unwrap();
        assert!(why.contains(expected), "{why}");
        assert!(!push.stats().connected && push.stats().sent == 0);
    }
}
