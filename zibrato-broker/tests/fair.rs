//! Whoever takes more than its share loses of its own, and not others of theirs.
#![allow(clippy::unwrap_used)] // Also in what the tests share.

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use omq_tokio::SocketType;
use support::raw::{greeted, has_ended, message, read_part, resident};
use support::*;
use zibrato_broker::{Config, ConnectionLimits};
use zibrato_core::ask::Message;

/// Others come from the address of omq's clients, 127.0.0.1.
const BAD: u8 = 3;

fn limited(connections: ConnectionLimits) -> Config {
    Config { connections, ..config() }
}

/// What blocks is done where it may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

fn big(instance: u8, sequence: u64, size: usize) -> Vec<u8> {
    let mut frame = complete(instance, sequence, 1);
    frame.resize(size, 0);
    frame
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commands_within_a_message_without_end_cost_their_sender_the_connection() {
    let broker = start(config()).await;
    let dealer = connected(SocketType::Dealer, &broker.addresses.ask).await;
    let address = broker.addresses.push.clone();
    let ended = blocking(move || {
        let mut stream = greeted(&address, "PUSH", BAD).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        let pings = [&[4, 7, 4][..], b"PING", &[0, 0]].concat().repeat(10_000);
        // Half a message, and heartbeats.
        stream.write_all(&[1, 5, b'i', b'n', b'f', b'o', b'|']).unwrap();
        let sent = (0..100).take_while(|_| stream.write_all(&pings).is_ok()).count();
        sent < 100 && has_ended(&mut stream)
    });
    assert!(ended.await);
    until(&dealer, |told| told["rejected"]["too_many_parts"] == 1).await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_message_that_came_in_pieces_costs_nobody_the_connection_later() {
    let limits = ConnectionLimits { message_time: Duration::from_millis(300), ..Default::default() };
    let broker = start(limited(limits)).await;
    let dealer = connected(SocketType::Dealer, &broker.addresses.ask).await;
    let address = broker.addresses.push.clone();
    let mut stream = blocking(move || {
        let mut stream = greeted(&address, "PUSH", 1).unwrap();
        let whole = message(&[b"info|", &complete(1, 1, 1)]);
        stream.write_all(&whole[..20]).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        stream.write_all(&whole[20..]).unwrap();
        stream
    })
    .await;
    until(&dealer, |told| told["frames_in"] == 1 && told["incoming_bytes"] == 0).await;
    // The broker looks at who is late every half a second.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    blocking(move || stream.write_all(&message(&[b"info|", &complete(1, 2, 1)])).unwrap()).await;
    let told = until(&dealer, |told| told["frames_in"] == 2).await;
    assert_eq!(told["rejected"], serde_json::json!({}));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn messages_begun_and_not_finished_do_not_end_those_of_others() {
    let limits = ConnectionLimits { incoming_bytes: 2 << 20, ..Default::default() };
    let broker = start(limited(limits)).await;
    let dealer = connected(SocketType::Dealer, &broker.addresses.ask).await;
    let address = broker.addresses.push.clone();
    let whole = message(&[b"info|", &big(1, 1, 300_000)]);
    let begun = whole[..150_000].to_vec();
    let mut good = blocking(move || {
        let mut good = greeted(&address, "PUSH", 1).unwrap();
        good.write_all(&begun).unwrap();
        good
    })
    .await;
    until(&dealer, |told| told["incoming_bytes"].as_u64() >= Some(150_000)).await;
    let address = broker.addresses.push.clone();
    let bad = blocking(move || {
        let half = &message(&[b"info|", &big(2, 1, 900_000)])[..600_000];
        let begin = |_| {
            let mut bad = greeted(&address, "PUSH", BAD).ok()?;
            bad.write_all(half).ok()?;
            Some(bad)
        };
        (0..50).filter_map(begin).collect::<Vec<_>>()
    })
    .await;
    until(&dealer, |told| told["rejected"]["unfinished"].as_u64() >= Some(20)).await;
    blocking(move || good.write_all(&whole[150_000..]).unwrap()).await;
    let told = until(&dealer, |told| told["frames_in"] == 1).await;
    let limit = (2u64 << 20) + (2 << 20);
    assert!(told["incoming_bytes"].as_u64().unwrap() < limit, "{told}");
    drop(bad);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_waits_for_others_leaves_a_prompt_subscriber_its_share() {
    let limits = ConnectionLimits { outgoing_bytes: 4 << 20, behind_bytes: 2 << 20, ..Default::default() };
    let broker = start(limited(limits)).await;
    let dealer = connected(SocketType::Dealer, &broker.addresses.ask).await;
    let address = broker.addresses.publish.clone();
    // Some that do not read what they wanted, and many that want nothing.
    let bad = blocking(move || {
        let mut stopped: Vec<TcpStream> = Vec::new();
        for number in 0..200 {
            let mut stream = greeted(&address, "SUB", BAD).unwrap();
            if number < 5 {
                stream.write_all(&[0, 6, 1, b'i', b'n', b'f', b'o', b'|']).unwrap();
            }
            stopped.push(stream);
        }
        stopped
    })
    .await;
    let seen = subscriber(&broker.addresses, &["info|"]).await;
    let push_end = connected(SocketType::Push, &broker.addresses.push).await;
    for n in 1..=400 {
        let frame = big(1, n, 100_000);
        push(&push_end, "info|", &frame).await;
        assert_eq!(next(&seen).await[1], frame, "{n}");
    }
    let told = info(&dealer).await;
    assert!(told["queued_bytes"].as_u64() > Some(3 << 20), "it was full: {told}");
    let slow = told["slow"].as_array().unwrap();
    assert!(!slow.is_empty() && slow.iter().all(|s| s["who"] == "127.0.0.3"), "{told}");
    drop(bad);
    broker.stop().await;
}

/// Asks for everything of all levels, without ever reading the answer.
fn ask_and_leave(address: &str, from: u8, times: usize) -> std::io::Result<TcpStream> {
    let mut stream = greeted(address, "DEALER", from)?;
    let parts = Message::Ask { id: 1, levels: vec![], cursor: None, talking: false }.encode();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    stream.write_all(&message(&parts).repeat(times))?;
    Ok(stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn askers_that_do_not_read_do_not_keep_what_has_been_sent_anew_since() {
    let broker = start(config()).await;
    let push_end = connected(SocketType::Push, &broker.addresses.push).await;
    let dealer = connected(SocketType::Dealer, &broker.addresses.ask).await;
    let mut held = Vec::new();
    let mut before = 0;
    for generation in 1..=16u64 {
        for instance in 0..40 {
            push(&push_end, "info|", &big(instance, generation, 500_000)).await;
        }
        until(&dealer, |told| told["frames_in"] == 40 * generation).await;
        let address = broker.addresses.ask.clone();
        held.push(blocking(move || ask_and_leave(&address, BAD, 1).unwrap()).await);
        until(&dealer, |told| told["asks"] == generation).await;
        if generation == 2 {
            before = resident();
        }
    }
    // 20 MB each would be 280 MB.
    let grown = resident().saturating_sub(before);
    assert!(grown < 120 << 20, "grew by {grown} bytes");
    drop(held);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_asks_without_end_keeps_nobody_else_from_being_answered() {
    let broker = start(config()).await;
    let push_end = connected(SocketType::Push, &broker.addresses.push).await;
    let dealer = connected(SocketType::Dealer, &broker.addresses.ask).await;
    for instance in 0..40 {
        push(&push_end, "info|", &big(instance, 1, 500_000)).await;
    }
    until(&dealer, |told| told["frames_in"] == 40).await;
    let address = broker.addresses.ask.clone();
    let bad = blocking(move || {
        let asker = |_| ask_and_leave(&address, BAD, 50).ok();
        (0..30).filter_map(asker).collect::<Vec<_>>()
    })
    .await;
    // As many as there may be are on their way, and more were refused.
    until(&dealer, |told| told["asks"].as_u64() >= Some(64) && told["rejected"]["ask"].as_u64() >= Some(500))
        .await;
    let address = broker.addresses.ask.clone();
    // One that reads, and asks for counts as fast as it gets them.
    let flooding = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let still = flooding.clone();
    let flood = tokio::task::spawn_blocking(move || {
        let mut stream = greeted(&address, "DEALER", BAD).unwrap();
        let mut reading = stream.try_clone().unwrap();
        let reader = std::thread::spawn(move || while read_part(&mut reading).is_ok() {});
        let question = message(&[b"info", &[0x91, 1]]).repeat(100);
        while still.load(std::sync::atomic::Ordering::Relaxed) && stream.write_all(&question).is_ok() {}
        let _ = stream.shutdown(std::net::Shutdown::Both);
        reader.join().unwrap();
    });
    let other = connected(SocketType::Dealer, &broker.addresses.ask).await;
    for _ in 0..5 {
        let (kept, _) = ask(&other, &["info"], None).await;
        assert_eq!(kept.len(), 40);
        info(&other).await;
    }
    let told = info(&dealer).await;
    assert!(told["answers_broken"].as_u64() >= Some(1), "{told}");
    assert_eq!(told["senders"][0]["who"], "127.0.0.3");
    flooding.store(false, std::sync::atomic::Ordering::Relaxed);
    flood.await.unwrap();
    drop(bad);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_comes_again_may_send_no_more_for_that() {
    let limits = ConnectionLimits { frames_per_second: Some(10), ..Default::default() };
    let broker = start(limited(limits)).await;
    let dealer = connected(SocketType::Dealer, &broker.addresses.ask).await;
    let address = broker.addresses.push.clone();
    let begin = std::time::Instant::now();
    blocking(move || {
        for turn in 0..20 {
            let mut stream = greeted(&address, "PUSH", BAD).unwrap();
            let frames: Vec<_> =
                (0..20).flat_map(|n| message(&[b"info|", &complete(1, 1 + turn * 20 + n, 1)])).collect();
            stream.write_all(&frames).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            assert!(has_ended(&mut stream));
        }
    })
    .await;
    let told = until(&dealer, |told| {
        told["frames_in"].as_u64().unwrap() + told["rejected"]["rate"].as_u64().unwrap_or_default() == 400
    })
    .await;
    // Two seconds' worth, and ten a second since.
    let most = 20 + 10 * (begin.elapsed().as_secs() + 1);
    assert!(told["frames_in"].as_u64().unwrap() <= most, "{told}");
    broker.stop().await;
}
