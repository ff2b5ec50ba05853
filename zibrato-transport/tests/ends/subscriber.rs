//! SUB against publishers that are absent, silent, restarted or broken.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not marked as tests")]

use crate::support::*;
use omq_tokio::{Message, SocketType};
use std::sync::{Arc, Mutex};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinHandle;
use zibrato_transport::{Broker, Event, SILENCE, Subscriber};

/// A publisher that repeats what it is told, and beats unless told not to.
struct Publisher {
    task: JoinHandle<()>,
    says: Arc<Mutex<Says>>,
}

#[derive(Default)]
struct Says {
    beat: Option<u8>,
    repeats: Vec<Vec<&'static [u8]>>,
}

impl Publisher {
    async fn start(broker: &Broker, boot: u8) -> Publisher {
        let socket = listen(SocketType::Pub, &broker.sub_address()).await;
        let says = Arc::new(Mutex::new(Says { beat: Some(boot), ..Says::default() }));
        let told = says.clone();
        let task = tokio::spawn(async move {
            loop {
                let (beats, repeats) = {
                    let says = told.lock().unwrap();
                    (says.beat, says.repeats.clone())
                };
                if let Some(boot) = beats {
                    let _ = socket.send(beat(boot)).await;
                }
                for parts in repeats {
                    let _ = socket.send(Message::multipart(parts.iter().map(|p| p.to_vec()))).await;
                }
                // Faster than brokers beat, so that the tests take less time.
                tokio::time::sleep(SHORT).await;
            }
        });
        Publisher { task, says }
    }

    fn says(&self, change: impl FnOnce(&mut Says)) {
        change(&mut self.says.lock().unwrap());
    }

    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

const SHORT: std::time::Duration = std::time::Duration::from_millis(50);

async fn next(subscriber: &mut Subscriber) -> Event {
    within("an event", subscriber.recv()).await
}

/// The next event that is not about the connection, which a busy machine may bring into any test.
async fn said(subscriber: &mut Subscriber) -> Event {
    loop {
        let event = next(subscriber).await;
        if !matches!(event, Event::Silent { .. } | Event::Back { .. } | Event::Refused { .. }) {
            return event;
        }
    }
}

/// Receives until `expected` comes; silences and returns may come before.
async fn until(subscriber: &mut Subscriber, expected: Event) {
    loop {
        let event = next(subscriber).await;
        if event == expected {
            return;
        }
        assert!(
            matches!(event, Event::Silent { .. } | Event::Back { .. } | Event::Refused { .. }),
            "{event:?}"
        );
    }
}

fn back(broker: usize, boot: u8) -> Event {
    Event::Back { broker, boot: [boot; 16] }
}

fn message(topic: &'static str, frame: &'static str) -> Event {
    Event::Message { broker: 0, topic: topic.into(), frame: frame.into() }
}

fn topics(topics: &[&str]) -> Vec<String> {
    topics.iter().map(|t| t.to_string()).collect()
}

#[tokio::test]
async fn hears_its_topics_exactly_and_consumes_beats() {
    let broker = free();
    let publisher = Publisher::start(&broker, 1).await;
    let mut subscriber = Subscriber::start(std::slice::from_ref(&broker), &topics(&["info|"]));
    until(&mut subscriber, back(0, 1)).await;
    publisher.says(|s| {
        s.repeats = vec![vec![b"infos|", b"x"], vec![b"error|", b"x"], vec![b"info|", b"frame"]];
    });
    for _ in 0..5 {
        assert_eq!(said(&mut subscriber).await, message("info|", "frame"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_empty_topic_hears_everything_once() {
    let broker = free();
    let publisher = Publisher::start(&broker, 1).await;
    let mut subscriber = Subscriber::start(std::slice::from_ref(&broker), &topics(&[""]));
    until(&mut subscriber, back(0, 1)).await;
    publisher.says(|s| s.repeats = vec![vec![b"a|", b"1"], vec![b"b|", b"2"]]);
    for _ in 0..3 {
        assert_eq!(said(&mut subscriber).await, message("a|", "1"));
        assert_eq!(said(&mut subscriber).await, message("b|", "2"));
    }
}

#[tokio::test]
async fn tells_of_malformed_messages_and_goes_on() {
    let broker = free();
    let publisher = Publisher::start(&broker, 1).await;
    let mut subscriber = Subscriber::start(std::slice::from_ref(&broker), &topics(&["info|"]));
    until(&mut subscriber, back(0, 1)).await;
    publisher.says(|s| {
        s.repeats = vec![
            vec![b"info|"],
            vec![b"info|", b"1", b"2"],
            vec![b"beat|", b"no MessagePack"],
            vec![b"info|", b""],
        ];
    });
    for _ in 0..3 {
        for expected in [
            Event::Malformed { broker: 0, parts: 1 },
            Event::Malformed { broker: 0, parts: 3 },
            Event::Malformed { broker: 0, parts: 2 },
            message("info|", ""),
        ] {
            assert_eq!(said(&mut subscriber).await, expected);
        }
    }
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_silent_once_until_it_comes() {
    let broker = free();
    let mut subscriber = Subscriber::start(std::slice::from_ref(&broker), &[]);
    assert_eq!(next(&mut subscriber).await, Event::Silent { broker: 0 });
    tokio::time::sleep(SILENCE + SHORT).await;
    let _publisher = Publisher::start(&broker, 3).await;
    assert_eq!(next(&mut subscriber).await, back(0, 3));
}

#[tokio::test]
async fn a_broker_that_falls_silent_is_told_and_then_that_it_is_back() {
    let broker = free();
    let publisher = Publisher::start(&broker, 1).await;
    let mut subscriber = Subscriber::start(std::slice::from_ref(&broker), &[]);
    until(&mut subscriber, back(0, 1)).await;
    for _ in 0..2 {
        publisher.says(|s| s.beat = None);
        until(&mut subscriber, Event::Silent { broker: 0 }).await;
        publisher.says(|s| s.beat = Some(1));
        until(&mut subscriber, back(0, 1)).await;
    }
}

#[tokio::test]
async fn a_restart_is_told_by_its_boot_id() {
    let broker = free();
    let mut subscriber = Subscriber::start(std::slice::from_ref(&broker), &[]);
    for boot in 1..4 {
        let publisher = Publisher::start(&broker, boot).await;
        until(&mut subscriber, back(0, boot)).await;
        publisher.kill().await;
    }
}

#[tokio::test]
async fn brokers_are_told_apart() {
    let brokers = [free(), free()];
    let first = Publisher::start(&brokers[0], 1).await;
    let second = Publisher::start(&brokers[1], 2).await;
    let mut subscriber = Subscriber::start(&brokers, &[]);
    let mut missing = vec![back(0, 1), back(1, 2)];
    while !missing.is_empty() {
        let event = next(&mut subscriber).await;
        missing.retain(|expected| *expected != event);
    }
    first.kill().await;
    until(&mut subscriber, Event::Silent { broker: 0 }).await;
    drop(second);
}

#[tokio::test]
async fn a_peer_that_never_greets_does_not_hold_it() {
    let broker = free();
    let hole = tokio::net::TcpListener::bind((broker.host.as_str(), broker.port + 1)).await.unwrap();
    let mut subscriber = Subscriber::start(std::slice::from_ref(&broker), &[]);
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(within("a connection", hole.accept()).await.unwrap());
    }
    until(&mut subscriber, Event::Silent { broker: 0 }).await;
    drop((hole, held));
    let _publisher = Publisher::start(&broker, 9).await;
    until(&mut subscriber, back(0, 9)).await;
}

#[tokio::test]
async fn a_connection_that_turns_into_a_black_hole_is_left() {
    let broker = free();
    let publisher = Publisher::start(&broker, 1).await;
    let mut subscriber = Subscriber::start(std::slice::from_ref(&broker), &[]);
    until(&mut subscriber, back(0, 1)).await;
    publisher.kill().await;
    let hole = within("the port", async {
        loop {
            match tokio::net::TcpListener::bind((broker.host.as_str(), broker.port + 1)).await {
                Ok(hole) => return hole,
                Err(_) => tokio::time::sleep(SHORT).await,
            }
        }
    })
    .await;
    let held = within("a connection", hole.accept()).await.unwrap();
    until(&mut subscriber, Event::Silent { broker: 0 }).await;
    drop((hole, held));
    let _publisher = Publisher::start(&broker, 2).await;
    until(&mut subscriber, back(0, 2)).await;
}

#[tokio::test]
async fn nonsense_and_resets_do_not_end_it() {
    let broker = free();
    let listener = tokio::net::TcpListener::bind((broker.host.as_str(), broker.port + 1)).await.unwrap();
    let mut subscriber = Subscriber::start(std::slice::from_ref(&broker), &[]);
    for answer in [&b""[..], b"HTTP/1.1 400 Bad Request\r\n\r\n", &[0xff; 300], &[0; 300]] {
        let (mut stream, _) = within("a connection", listener.accept()).await.unwrap();
        let _ = stream.write_all(answer).await;
    }
    drop(listener);
    let _publisher = Publisher::start(&broker, 1).await;
    until(&mut subscriber, back(0, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_does_not_receive_hears_no_silence() {
    static BODY: [u8; 256 << 10] = [7; 256 << 10];
    let broker = free();
    let publisher = Publisher::start(&broker, 1).await;
    publisher.says(|s| s.repeats = vec![vec![b"info|", &BODY]; 20]);
    within("no silence but by chance, on a busy machine", async {
        loop {
            let mut subscriber = Subscriber::start(std::slice::from_ref(&broker), &topics(&["info|"]));
            until_message(&mut subscriber).await;
            // 5 MiB come every 50 ms, and 8 MiB may wait.
            tokio::time::sleep(SILENCE * 2).await;
            let mut silences = 0;
            for _ in 0..200 {
                silences += usize::from(next(&mut subscriber).await == Event::Silent { broker: 0 });
            }
            if silences == 0 {
                return;
            }
        }
    })
    .await;
}

async fn until_message(subscriber: &mut Subscriber) {
    assert!(matches!(said(subscriber).await, Event::Message { .. }));
}
