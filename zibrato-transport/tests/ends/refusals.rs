//! What connections that CURVE protects refuse: strangers on either side, and bytes that were altered or repeated on
//! the way.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not marked as tests")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

use crate::support::*;
use bytes::Bytes;
use omq_proto::proto::connection::Connection;
use omq_tokio::{Message, Options, Socket, SocketType};
use zibrato_core::ask;
use zibrato_keys::KeyPair;
use zibrato_transport::{Asker, Broker, Event, Push, Security, Subscriber};

const SECRET: &[u8] = b"what nobody else may read";

fn stranger() -> KeyPair {
    KeyPair::generate().unwrap()
}

async fn refused(subscriber: &mut Subscriber) -> String {
    loop {
        if let Event::Refused { broker: 0, why } = within("a refusal", subscriber.recv()).await {
            return why;
        }
    }
}

#[tokio::test]
async fn who_has_not_the_brokers_key_is_refused() {
    let broker = free();
    let false_friend = Security::Curve { own: CLIENT.clone(), broker: stranger().public() };
    let wrong = broker.clone().secured(false_friend);
    let _sockets = [pull(&broker).await, listen(SocketType::Pub, &broker.sub_address()).await];
    let _router = listen(SocketType::Router, &broker.ask_address()).await;
    let (push, asker) = (Push::start(&wrong), Asker::start(&wrong));
    push.offer("info|", Bytes::from_static(SECRET));
    asker.send(ask::Message::Info { id: 1 });
    let mut subscriber = Subscriber::start(std::slice::from_ref(&wrong), &[]);
    let why = refused(&mut subscriber).await;
    assert!(why.starts_with("connect: ") && why.contains("is it the owner of the broker key"), "{why}");
    soon("refusals of all", || {
        push.stats().refused > 1 && asker.stats().refused > 1 && subscriber.refused() > 1
    })
    .await;
    assert!(!push.stats().connected && !asker.stats().connected);
    for why in [push.trouble().unwrap(), asker.trouble().unwrap()] {
        assert!(why.contains(&format!("{}:", broker.host)) && why.contains("the broker key"), "{why}");
    }
}

#[tokio::test]
async fn a_refusal_is_told_once() {
    let broker = free();
    let wrong = broker.clone().secured(Security::Curve { own: CLIENT.clone(), broker: stranger().public() });
    let _publisher = listen(SocketType::Pub, &broker.sub_address()).await;
    let mut subscriber = Subscriber::start(std::slice::from_ref(&wrong), &[]);
    refused(&mut subscriber).await;
    let before = subscriber.refused();
    let silent = within("the silence", subscriber.recv()).await;
    assert_eq!(silent, Event::Silent { broker: 0 });
    soon("more refusals", || subscriber.refused() > before + 2).await;
    let more = tokio::time::timeout(std::time::Duration::from_millis(100), subscriber.recv()).await;
    assert!(more.is_err(), "{more:?}");
}

#[tokio::test]
async fn a_client_that_is_not_allowed_learns_it() {
    let broker = free();
    let unknown = broker.clone().secured(Security::Curve { own: stranger(), broker: BROKER.public() });
    let _pull = pull(&broker).await;
    let push = Push::start(&unknown);
    soon("a refusal", || push.stats().refused > 0).await;
    let why = push.trouble().unwrap();
    assert!(why.contains("our key") && why.contains("allowed there?"), "{why}");
}

#[tokio::test]
async fn neither_end_talks_in_the_clear_to_one_with_keys() {
    // We have keys, the broker has none.
    let broker = free();
    let plain = Socket::new(SocketType::Pull, Options::default());
    plain.bind(&broker.push_address()).await.unwrap();
    let push = Push::start(&broker);
    push.offer("info|", Bytes::from_static(SECRET));
    soon("a refusal", || push.stats().refused > 0).await;
    assert!(push.trouble().unwrap().contains("it does not use CURVE"), "{:?}", push.trouble());
    assert!(!push.stats().connected);
    // The broker has keys, we have none.
    let broker = free();
    let _pull = pull(&broker).await;
    let push = Push::start(&broker.secured(Security::Plain));
    soon("a reason", || push.trouble().is_some()).await;
    assert!(push.trouble().unwrap().contains("where it uses CURVE, give --key"), "{:?}", push.trouble());
}

/// Passes on what comes, of each direction one connection after the other; `alter` may change what the broker says.
fn between(
    to: Broker,
    offset: u16,
    mut alter: impl FnMut(&mut Vec<u8>) + Send + 'static,
) -> (Broker, mpsc::Receiver<Vec<u8>>) {
    let (seen, sniffed) = mpsc::channel();
    let at = free();
    let listener = TcpListener::bind((at.host.as_str(), at.port + offset)).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect((to.host.as_str(), to.port + offset)) else { continue };
            let (mut up, mut down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let seen_up = seen.clone();
            std::thread::spawn(move || {
                let _ = pass(&mut up, &mut down, |bytes| drop(seen_up.send(bytes.clone())));
            });
            let (mut client, mut server) = (client, server);
            let _ = pass(&mut server, &mut client, |bytes| {
                let _ = seen.send(bytes.clone());
                alter(bytes);
            });
        }
    });
    (at, sniffed)
}

fn pass(from: &mut TcpStream, to: &mut TcpStream, mut with: impl FnMut(&mut Vec<u8>)) -> std::io::Result<()> {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let length = from.read(&mut bytes)?;
        if length == 0 {
            return to.shutdown(std::net::Shutdown::Both);
        }
        let mut some = bytes[..length].to_vec();
        with(&mut some);
        to.write_all(&some)?;
    }
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test]
async fn nobody_on_the_way_reads_anything() {
    let broker = free();
    let (pull, publisher) = (pull(&broker).await, listen(SocketType::Pub, &broker.sub_address()).await);
    let (at, up) = between(broker.clone(), 0, |_| {});
    let push = Push::start(&at);
    push.offer("info|", Bytes::from_static(SECRET));
    assert_eq!(next(&pull).await, ("info|".into(), SECRET.to_vec()));
    let (at, down) = between(broker, 1, |_| {});
    let mut subscriber = Subscriber::start(std::slice::from_ref(&at), &["info|".into()]);
    within("a message", async {
        loop {
            publisher.send(Message::multipart([b"info|".to_vec(), SECRET.to_vec()])).await.unwrap();
            let wait = tokio::time::timeout(std::time::Duration::from_millis(20), subscriber.recv()).await;
            if let Ok(Event::Message { frame, .. }) = wait {
                assert_eq!(frame, SECRET);
                return;
            }
        }
    })
    .await;
    let seen: Vec<u8> = up.try_iter().chain(down.try_iter()).flatten().collect();
    assert!(holds(&seen, b"\x07MESSAGE"), "it was looked at");
    for secret in [SECRET, b"info|", b"beat|", b"PUSH", b"PULL"] {
        assert!(!holds(&seen, secret), "{secret:?} was to be seen");
    }
}

#[tokio::test]
async fn what_was_altered_on_the_way_is_refused_and_the_rest_goes_on() {
    let broker = free();
    let publisher = listen(SocketType::Pub, &broker.sub_address()).await;
    let mut times = 0;
    let (at, _) = between(broker, 1, move |bytes| {
        // A bit of a measurement, three times; some may be on one connection.
        if times < 3 && holds(bytes, b"\x07MESSAGE") {
            times += 1;
            *bytes.last_mut().unwrap() ^= 1;
        }
    });
    let mut subscriber = Subscriber::start(std::slice::from_ref(&at), &["info|".into()]);
    let mut told = Vec::new();
    within("a message", async {
        loop {
            publisher.send(Message::multipart([b"info|".to_vec(), SECRET.to_vec()])).await.unwrap();
            let wait = tokio::time::timeout(std::time::Duration::from_millis(20), subscriber.recv()).await;
            match wait {
                Ok(Event::Message { frame, .. }) => {
                    assert_eq!(frame, SECRET, "nothing altered is handed on");
                    return;
                }
                Ok(Event::Refused { why, .. }) => told.push(why),
                _ => {}
            }
        }
    })
    .await;
    assert!((1..=3).contains(&subscriber.refused()));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("keep the connection: what came was altered on the way"), "{told:?}");
}

/// Serves one connection after the other as a publisher that `misbehaves` when its handshake is done.
fn publish(at: &Broker, mut misbehaves: impl FnMut(&mut TcpStream, &mut Connection) + Send + 'static) {
    let listener = TcpListener::bind((at.host.as_str(), at.port + 1)).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            if let Ok(mut codec) = shake_hands(&mut stream, SocketType::Pub) {
                misbehaves(&mut stream, &mut codec);
            }
        }
    });
}

fn wire(codec: &mut Connection, parts: &[&[u8]]) -> Bytes {
    codec.send_message(&Message::multipart(parts.iter().map(|part| part.to_vec()))).unwrap();
    let bytes = codec.poll_transmit();
    codec.advance_transmit(bytes.len());
    bytes
}

#[tokio::test]
async fn what_is_repeated_is_refused() {
    let broker = free();
    publish(&broker, |stream, codec| {
        let once = wire(codec, &[b"info|", b"1"]);
        let _ = stream.write_all(&once);
        let _ = stream.write_all(&once);
        let _ = stream.read(&mut [0; 4096]);
    });
    let mut subscriber = Subscriber::start(std::slice::from_ref(&broker), &["info|".into()]);
    let mut messages = 0;
    let why = loop {
        match within("a refusal", subscriber.recv()).await {
            Event::Message { .. } => messages += 1,
            Event::Refused { why, .. } => break why,
            _ => {}
        }
    };
    assert!(why.contains("nonce counter not monotonically increasing"), "{why}");
    assert!(messages <= 1, "the second is the same again");
}

#[tokio::test]
async fn a_session_cannot_be_replayed_to_another_connection() {
    let broker = free();
    let (told, recorded) = mpsc::channel();
    let publisher = listen(SocketType::Pub, &broker.sub_address()).await;
    let (at, down) = between(broker, 1, |_| {});
    let mut subscriber = Subscriber::start(std::slice::from_ref(&at), &["info|".into()]);
    within("a message", async {
        loop {
            publisher.send(Message::multipart([b"info|".to_vec(), SECRET.to_vec()])).await.unwrap();
            let wait = tokio::time::timeout(std::time::Duration::from_millis(20), subscriber.recv()).await;
            if matches!(wait, Ok(Event::Message { .. })) {
                return;
            }
        }
    })
    .await;
    told.send(down.try_iter().flatten().collect::<Vec<u8>>()).unwrap();
    let all = recorded.recv().unwrap();
    // Somebody who has recorded the broker's side of it, without its key.
    let actor = free();
    let listener = TcpListener::bind((actor.host.as_str(), actor.port + 1)).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(&all);
            let _ = stream.read(&mut [0; 4096]);
        }
    });
    let mut subscriber = Subscriber::start(std::slice::from_ref(&actor), &["info|".into()]);
    let why = refused(&mut subscriber).await;
    assert!(why.starts_with("connect: "), "{why}");
    assert!(subscriber.refused() > 0);
}

#[tokio::test]
async fn no_message_is_larger_than_the_limit() {
    let broker = free();
    let mut turn = 0;
    publish(&broker, move |stream, codec| {
        turn += 1;
        if turn % 2 == 1 {
            // A header that says 2^40 bytes.
            let _ = stream.write_all(&[[2, 0, 0, 1].as_slice(), &[0; 5]].concat());
        } else {
            // Parts without end, each of them good.
            let part = vec![7; 1 << 20];
            let parts: Vec<&[u8]> = (0..64).map(|_| part.as_slice()).collect();
            let _ = stream.write_all(&wire(codec, &parts));
        }
        let _ = stream.read(&mut [0; 4096]);
    });
    let mut subscriber = Subscriber::start(std::slice::from_ref(&broker), &[String::new()]);
    let why = refused(&mut subscriber).await;
    assert!(why.contains("too large") || why.contains("exceeds"), "{why}");
    soon("both kinds", || subscriber.refused() >= 2).await;
}
