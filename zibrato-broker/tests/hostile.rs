//! Peers that break the rules cost themselves something, and nobody else.
#![allow(clippy::unwrap_used)] // Also in what the tests share.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use omq_tokio::{Message as Raw, SocketType};
use support::raw::{greeting, ready, resident};
use support::*;
use zibrato_core::ask::Message;
use zibrato_core::frame::Flags;

/// Opens a connection and writes without reading; errors are the broker's way of saying no.
fn attack(address: &str, bytes: &[u8]) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address.trim_start_matches("tcp://")).ok()?;
    stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    stream.write_all(bytes).ok()?;
    Some(stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn good_traffic_passes_while_peers_misbehave() {
    let config = zibrato_broker::Config { legacy_port: Some(0), ..config() };
    let broker = start(config).await;
    let seen = subscriber(&broker.addresses, &["info|"]).await;
    let push_end = connected(SocketType::Push, &broker.addresses.push).await;
    let dealer = connected(SocketType::Dealer, &broker.addresses.ask).await;
    let addresses = broker.addresses.clone();
    let before = resident();
    let done = Arc::new(AtomicBool::new(false));
    let attackers_done = done.clone();
    let attacks = tokio::task::spawn_blocking(move || {
        let mut held = Vec::new();
        let targets = [
            (&addresses.push, "PUSH"),
            (&addresses.publish, "SUB"),
            (&addresses.ask, "DEALER"),
            (addresses.legacy_in.as_ref().unwrap(), "PUB"),
            (addresses.legacy_out.as_ref().unwrap(), "SUB"),
        ];
        for (address, kind) in targets {
            // Garbage, an HTTP request, half a greeting, silence.
            let garbage: Vec<u8> = (0..1000u32).map(|n| ((n * 7919) >> 3) as u8).collect();
            held.push(attack(address, &garbage));
            held.push(attack(address, b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n"));
            for cut in [1, 10, 11, 40, 63, 64, 66] {
                held.push(attack(address, &ready(kind)[..cut]));
            }
            (0..20).for_each(|_| held.push(attack(address, b"")));
            // Garbage after the greeting; frames that say they are huge, before and after the handshake.
            let huge = |flags: u8, size: u64| [&[flags][..], &size.to_be_bytes()].concat();
            held.push(attack(address, &[greeting(), garbage.clone()].concat()));
            for size in [1 << 40, 1 << 62, u64::MAX] {
                for flags in [2, 3, 6] {
                    held.push(attack(address, &[greeting(), huge(flags, size)].concat()));
                    held.push(attack(address, &[ready(kind), huge(flags, size)].concat()));
                }
            }
            // A message of parts without end, large ones and empty ones; one large part, to its 60th megabyte.
            for part in
                [[vec![3], (1u64 << 20).to_be_bytes().to_vec(), vec![1; 1 << 20]].concat(), vec![1, 0]]
            {
                if let Some(mut stream) = attack(address, &ready(kind)) {
                    let parts = part.repeat((4 << 20) / part.len());
                    let sent = (0..15).take_while(|_| stream.write_all(&parts).is_ok()).count();
                    assert!(sent < 15 || part.len() == 2, "{kind}: nobody stopped a message of 60 MB");
                    held.push(Some(stream));
                }
            }
            // Dies in the middle of a frame.
            drop(attack(address, &[ready(kind), vec![0, 200, 1, 2, 3]].concat()));
        }
        attackers_done.store(true, Ordering::Release);
        held
    });
    let mut n = 0;
    while !done.load(Ordering::Acquire) || n < 200 {
        n += 1;
        push(&push_end, "info|", &complete(1, n, n as i64)).await;
        assert_eq!(next(&seen).await[1], complete(1, n, n as i64));
        info(&dealer).await;
    }
    let held = attacks.await.unwrap();
    // New peers are served while the bad ones are still connected.
    let late = connected(SocketType::Dealer, &broker.addresses.ask).await;
    until(&late, |told| told["frames_in"].as_u64().unwrap() >= 200).await;
    let grown = resident().saturating_sub(before);
    assert!(grown < 300 << 20, "grew by {grown} bytes");
    drop(held);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_messages_are_counted_by_reason_and_good_ones_pass() {
    let broker = start(config()).await;
    let seen = subscriber(&broker.addresses, &[""]).await;
    let dealer = connected(SocketType::Dealer, &broker.addresses.ask).await;
    let push_end = connected(SocketType::Push, &broker.addresses.push).await;
    let good = complete(1, 1, 1);
    let mut large = good.clone();
    large.resize((1 << 20) + 1, 0);
    let bad: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("parts", vec![b"info|".to_vec()]),
        ("parts", vec![b"info|".to_vec(), good.clone(), vec![]]),
        ("topic", vec![b"info".to_vec(), good.clone()]),
        ("topic", vec![b"".to_vec(), good.clone()]),
        ("topic", vec![b"beat|".to_vec(), good.clone()]),
        ("topic", vec![b"\xff|".to_vec(), good.clone()]),
        ("topic", vec![b"two words|".to_vec(), good.clone()]),
        ("truncated", vec![b"info|".to_vec(), vec![]]),
        ("truncated", vec![b"info|".to_vec(), good[..20].to_vec()]),
        ("wrong_type", vec![b"info|".to_vec(), b"text".to_vec()]),
        ("unknown_version", vec![b"info|".to_vec(), vec![0x9b, 2]]),
        ("impossible", vec![b"info|".to_vec(), impossible()]),
        ("too_large", vec![b"info|".to_vec(), large]),
    ];
    for (_, parts) in &bad {
        push_end.send(Raw::multipart(parts.clone())).await.unwrap();
    }
    push(&push_end, "info|", &good).await;
    assert_eq!(next(&seen).await, [b"info|".to_vec(), good]);
    let told = info(&dealer).await;
    let mut wanted = serde_json::Map::new();
    for (reason, _) in bad {
        let n = wanted.get(reason).and_then(|n| n.as_u64()).unwrap_or(0);
        wanted.insert(reason.into(), (n + 1).into());
    }
    assert_eq!(told["rejected"], serde_json::Value::Object(wanted));
    broker.stop().await;
}

/// A head whose part is beyond its parts.
fn impossible() -> Vec<u8> {
    let mut bytes = Vec::new();
    let head = zibrato_core::frame::Head { part: 3, ..head(1, 1, Flags::COMPLETE) };
    zibrato_core::frame::encode_head(&mut bytes, &head, 0);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_subscriber_that_does_not_read_delays_nobody() {
    let broker = start(config()).await;
    let address = broker.addresses.publish.trim_start_matches("tcp://").to_owned();
    // It subscribes to everything, and never reads again.
    let stopped = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&ready("SUB")).unwrap();
        stream.read_exact(&mut [0; 64]).unwrap();
        stream.write_all(&[0, 1, 1]).unwrap();
        stream
    });
    let stopped = stopped.await.unwrap();
    let seen = subscriber(&broker.addresses, &["info|"]).await;
    let push_end = connected(SocketType::Push, &broker.addresses.push).await;
    let before = resident();
    // 400 MB in all.
    let mut frame = complete(1, 1, 1);
    frame.resize(400_000, 0);
    for n in 0..1000u64 {
        frame[399_992..].copy_from_slice(&n.to_be_bytes());
        push(&push_end, "info|", &frame).await;
        let got = next(&seen).await;
        assert_eq!(got[1], frame, "{n}");
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 200 << 20, "grew by {grown} bytes");
    drop(stopped);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_subscriber_with_endless_subscriptions_delays_nobody() {
    let broker = start(config()).await;
    let address = broker.addresses.publish.trim_start_matches("tcp://").to_owned();
    let before = resident();
    let many = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&ready("SUB")).unwrap();
        // 60 MB of subscriptions that no topic can match, and some thousand that one could.
        let mut bytes = vec![2];
        bytes.extend(60_000u64.to_be_bytes());
        bytes.push(1);
        bytes.resize(9 + 60_000, b'x');
        for n in 0..1000u32 {
            bytes[10..14].copy_from_slice(&n.to_be_bytes());
            stream.write_all(&bytes).unwrap();
        }
        for n in 0..20_000u32 {
            let prefix = format!("level{n}|");
            let frame = [&[0, prefix.len() as u8 + 1, 1][..], prefix.as_bytes()].concat();
            stream.write_all(&frame).unwrap();
        }
        stream
    });
    let many = many.await.unwrap();
    let seen = subscriber(&broker.addresses, &["info|"]).await;
    let push_end = connected(SocketType::Push, &broker.addresses.push).await;
    for n in 1..1000 {
        push(&push_end, "info|", &complete(1, n, 1)).await;
        assert_eq!(next(&seen).await[1], complete(1, n, 1));
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 50 << 20, "grew by {grown} bytes");
    drop(many);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_asker_that_does_not_read_delays_nobody() {
    let broker = start(config()).await;
    let push_end = connected(SocketType::Push, &broker.addresses.push).await;
    let dealer = connected(SocketType::Dealer, &broker.addresses.ask).await;
    for n in 0..40 {
        let mut frame = complete(n, 1, 1);
        frame.resize(500_000, 0);
        push(&push_end, "info|", &frame).await;
    }
    until(&dealer, |told| told["levels"]["info"]["frames"] == 40).await;
    let mut stopped = Vec::new();
    let ask_all = Message::Ask { id: 1, levels: vec![], cursor: None, talking: false }.encode();
    for _ in 0..10 {
        let address = broker.addresses.ask.trim_start_matches("tcp://").to_owned();
        let parts = ask_all.clone();
        let stream = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&ready("DEALER")).unwrap();
            let mut bytes = vec![1, parts[0].len() as u8];
            bytes.extend(&parts[0]);
            bytes.extend([0, parts[1].len() as u8]);
            bytes.extend(&parts[1]);
            (0..10).for_each(|_| stream.write_all(&bytes).unwrap());
            stream
        });
        stopped.push(stream.await.unwrap());
    }
    until(&dealer, |told| told["asks"].as_u64() >= Some(40)).await;
    let (kept, _) = ask(&dealer, &["info"], None).await;
    assert_eq!(kept.len(), 40);
    drop(stopped);
    broker.stop().await;
}
