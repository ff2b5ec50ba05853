//! PUSH against peers that are absent, restarted, broken or stopped.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not marked as tests")]

use crate::support::*;
use bytes::Bytes;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};
use zibrato_transport::{Limits, Push};

const NOW: Duration = Duration::from_millis(300);

/// Once as the library runs it, once as a worker does.
fn on_both_runtimes<F: Future<Output = ()>>(test: impl Fn() -> F) {
    for mut builder in
        [tokio::runtime::Builder::new_current_thread(), tokio::runtime::Builder::new_multi_thread()]
    {
        let runtime = builder.enable_all().build().unwrap();
        runtime.block_on(test());
        runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

fn frame(i: u32) -> Bytes {
    Bytes::copy_from_slice(&i.to_be_bytes())
}

#[test]
fn frames_arrive_in_order_as_topic_and_frame() {
    on_both_runtimes(|| async {
        let broker = free();
        let pull = pull(&broker).await;
        let push = Push::start(&broker);
        for i in 0..1000 {
            assert!(push.offer("info|", frame(i)));
        }
        for i in 0..1000 {
            assert_eq!(next(&pull).await, ("info|".into(), frame(i).to_vec()));
        }
        let stats = push.stats();
        assert_eq!((stats.sent, stats.dropped, stats.reconnects, stats.waiting), (1000, 0, 0, 0));
        assert!(stats.connected && push.trouble().is_none());
        assert!(push.close(PATIENCE).await);
    });
}

#[test]
fn nobody_there_at_the_start_and_there_later() {
    on_both_runtimes(|| async {
        let broker = free();
        let push = Push::start(&broker);
        assert!(push.offer("info|", frame(1)));
        soon("a reason", || push.trouble().is_some()).await;
        let why = push.trouble().unwrap();
        assert!(why.contains(&broker.to_string()), "{why}");
        assert!(!push.stats().connected);
        let pull = pull(&broker).await;
        assert_eq!(next(&pull).await.1, frame(1));
        assert!(push.close(PATIENCE).await);
    });
}

#[test]
fn a_name_is_resolved_and_all_its_addresses_are_tried() {
    on_both_runtimes(|| async {
        let mut broker = free();
        let pull = pull(&broker).await;
        broker.host = "localhost".into();
        let push = Push::start(&broker);
        assert!(push.offer("info|", frame(1)));
        assert_eq!(next(&pull).await.1, frame(1));
        broker.host = "no-such-host.invalid".into();
        let push = Push::start(&broker);
        soon("a reason", || push.trouble().is_some()).await;
        assert!(push.trouble().unwrap().contains("no-such-host.invalid"));
    });
}

#[test]
fn a_broker_that_is_killed_and_restarted_gets_frames_again() {
    on_both_runtimes(|| async {
        let broker = free();
        let push = Push::start(&broker);
        let mut last = 0;
        for life in 0..4 {
            let pull = pull(&broker).await;
            // State is sent again and again, so some newer frame must come, whatever was lost.
            let seen = within("a frame of this life", async {
                loop {
                    last += 1;
                    assert!(push.offer("info|", frame(last)));
                    if let Ok(message) = tokio::time::timeout(NOW / 10, pull.recv()).await {
                        return parts(&message.unwrap());
                    }
                }
            })
            .await;
            assert_eq!(seen[0], b"info|", "life {life}");
            drop(pull);
        }
        assert!(push.stats().reconnects >= 2, "{:?}", push.stats());
    });
}

#[tokio::test]
async fn what_was_given_to_a_connection_that_failed_is_sent_again() {
    let broker = free();
    let push = Push::start(&broker);
    let first = pull(&broker).await;
    push.offer("info|", frame(0));
    next(&first).await;
    drop(first);
    // Written into a connection whose other end is gone: the kernel takes it and nobody else.
    for i in 1..=20 {
        push.offer("info|", frame(i));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = pull(&broker).await;
    let mut missing: Vec<u32> = (1..=20).collect();
    while !missing.is_empty() {
        let (_, got) = next(&second).await;
        missing.retain(|&i| frame(i) != got);
    }
    assert_eq!((push.stats().sent, push.stats().dropped), (21, 0));
}

#[test]
fn close_writes_everything_out() {
    const FRAMES: u32 = 20_000;
    on_both_runtimes(|| async {
        let broker = free();
        let pull = pull(&broker).await;
        let reader = tokio::spawn(async move {
            for i in 0..FRAMES {
                let (_, got) = next(&pull).await;
                assert_eq!(got[..4], frame(i));
            }
        });
        let limits = Limits { messages: FRAMES as usize, age: PATIENCE, ..Limits::default() };
        let push = Push::with_limits(&broker, limits);
        for i in 0..FRAMES {
            let mut body = i.to_be_bytes().to_vec();
            body.resize(500, 0);
            assert!(push.offer("info|", body.into()));
        }
        assert!(push.close(PATIENCE).await);
        within("all frames", reader).await.unwrap();
    });
}

#[test]
fn what_close_wrote_outlives_its_runtime() {
    let broker = free();
    let (told, listening) = std::sync::mpsc::channel();
    let address = broker.clone();
    let reader = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let pull = pull(&address).await;
            told.send(()).unwrap();
            for i in 0..5000 {
                assert_eq!(next(&pull).await.1, frame(i));
            }
        });
    });
    listening.recv().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let closed = runtime.block_on(async {
        let push = Push::start(&broker);
        (0..5000).for_each(|i| assert!(push.offer("info|", frame(i))));
        push.close(PATIENCE).await
    });
    runtime.shutdown_background();
    assert!(closed);
    reader.join().unwrap();
}

#[test]
fn close_keeps_its_deadline() {
    on_both_runtimes(|| async {
        let broker = free();
        let idle = Push::start(&broker);
        soon("an attempt", || idle.trouble().is_some()).await;
        assert!(within("nothing to write", idle.close(PATIENCE)).await);
        let busy = Push::start(&broker);
        busy.offer("info|", frame(1));
        let start = Instant::now();
        assert!(!busy.close(NOW).await);
        assert!(start.elapsed() >= NOW && start.elapsed() < PATIENCE);
    });
}

/// Accepts, and does with each connection what the test wants.
fn raw(broker: &zibrato_transport::Broker, mut serve: impl FnMut(std::net::TcpStream) + Send + 'static) {
    let listener = TcpListener::bind((broker.host.as_str(), broker.port)).unwrap();
    std::thread::spawn(move || listener.incoming().flatten().for_each(&mut serve));
}

/// Greets as PULL does, and leaves it at that.
fn greet(stream: &mut std::net::TcpStream) {
    if curve() {
        return greet_secretly(stream);
    }
    let mut greeting = [0; 64];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[12..16].copy_from_slice(b"NULL");
    stream.write_all(&greeting).unwrap();
    stream.read_exact(&mut [0; 64]).unwrap();
    let mut header = [0; 2];
    stream.read_exact(&mut header).unwrap();
    stream.read_exact(&mut vec![0; header[1].into()]).unwrap();
    stream.write_all(b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04PULL").unwrap();
}

#[test]
fn a_peer_that_never_greets_is_left() {
    on_both_runtimes(|| async {
        let broker = free();
        let (held, holding) = std::sync::mpsc::channel();
        let listener = TcpListener::bind((broker.host.as_str(), broker.port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let hole = tokio::spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                held.send(stream).unwrap();
            }
        });
        let push = Push::start(&broker);
        push.offer("info|", frame(1));
        let mut connections = Vec::new();
        soon("a second attempt", || {
            connections.extend(holding.try_iter());
            connections.len() >= 2
        })
        .await;
        assert!(!push.stats().connected);
        hole.abort();
        let _ = hole.await;
        drop(connections);
        let pull = pull(&broker).await;
        assert_eq!(next(&pull).await.1, frame(1));
    });
}

#[tokio::test]
async fn peers_that_reset_or_talk_nonsense_are_left() {
    let broker = free();
    let (told, tries) = std::sync::mpsc::channel();
    let mut count = 0usize;
    raw(&broker, move |mut stream| {
        let answers: [&[u8]; 4] =
            [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", &[0xff; 200], b"\xff\0\0\0\0\0\0\0\0\x7f\x03"];
        let _ = stream.write_all(answers[count % 4]);
        count += 1;
        let _ = told.send(count);
    });
    let push = Push::start(&broker);
    soon("eight attempts", || tries.try_iter().any(|n| n >= 8)).await;
    assert!(!push.stats().connected);
    assert!(push.offer("info|", frame(1)));
}

#[cfg(target_os = "linux")]
#[test]
fn a_peer_that_never_reads_costs_bounded_memory_and_no_time() {
    on_both_runtimes(|| async {
        const SIZE: usize = 64 << 10;
        let broker = free();
        let (told, held) = std::sync::mpsc::channel();
        raw(&broker, move |mut stream| {
            greet(&mut stream);
            let _ = told.send(stream);
        });
        let limits = Limits { bytes: 4 << 20, ..Limits::default() };
        let push = Push::with_limits(&broker, limits);
        soon("a connection", || push.stats().connected).await;
        let before = resident();
        // 640 MB; each is written to, so that it takes room.
        for i in 0..10_000u32 {
            let mut body = vec![i as u8; SIZE];
            body[..4].copy_from_slice(&i.to_be_bytes());
            assert!(push.offer("info|", body.into()));
            assert!(push.stats().waiting <= limits.bytes);
            if i % 50 == 0 {
                tokio::task::yield_now().await;
            }
        }
        let grown = resident().saturating_sub(before);
        // What the tests beside this one take is in it, too.
        assert!(grown < 256 << 20, "grew by {grown} bytes");
        let stats = push.stats();
        assert!(stats.dropped > 9_000, "{stats:?}");
        assert!(!push.offer("info|", vec![0; limits.bytes].into()), "larger than everything");
        assert!(!push.close(NOW).await);
        drop(held);
    });
}

#[tokio::test]
async fn the_newest_frames_survive_when_too_much_waits() {
    let broker = free();
    let push = Push::with_limits(&broker, Limits { messages: 100, age: PATIENCE, ..Limits::default() });
    for i in 0..1000 {
        assert!(push.offer("info|", frame(i)));
    }
    let dropped = push.stats().dropped as u32;
    assert!((900..1000).contains(&dropped), "{dropped}");
    let pull = pull(&broker).await;
    for i in dropped..1000 {
        assert_eq!(next(&pull).await.1, frame(i));
    }
    assert!(push.close(PATIENCE).await);
}

#[tokio::test]
async fn frames_that_waited_for_too_long_are_dropped() {
    let broker = free();
    let push = Push::with_limits(&broker, Limits { age: NOW, ..Limits::default() });
    push.offer("info|", frame(1));
    tokio::time::sleep(NOW * 2).await;
    let pull = pull(&broker).await;
    let first = within("a frame", async {
        loop {
            push.offer("info|", frame(2));
            if let Ok(message) = tokio::time::timeout(NOW / 10, pull.recv()).await {
                return parts(&message.unwrap());
            }
        }
    })
    .await;
    assert_eq!(first[1], frame(2));
    assert!(push.stats().dropped >= 1);
}

/// Takes the ten seconds after which a writer is taken for stuck.
#[tokio::test]
async fn a_peer_that_hangs_is_replaced_when_another_answers() {
    let broker = free();
    let address = broker.clone();
    let (told, connections) = std::sync::mpsc::channel();
    raw(&address, move |mut stream| {
        greet(&mut stream);
        let _ = told.send(stream);
    });
    let push = Push::with_limits(&broker, Limits { bytes: 64 << 20, age: PATIENCE, ..Limits::default() });
    let body = vec![7; 1 << 20];
    for _ in 0..40 {
        assert!(push.offer("info|", body.clone().into()));
    }
    let mut accepted = Vec::new();
    soon("a second connection", || {
        accepted.extend(connections.try_iter());
        accepted.len() == 2
    })
    .await;
    // It gets all that the first one may not have got.
    let mut stream = accepted.pop().unwrap();
    let reader = std::thread::spawn(move || {
        let mut most = vec![0; 1 << 20];
        let mut total = 0;
        while total < 20 << 20 {
            total += stream.read(&mut most).unwrap();
        }
        stream
    });
    soon("the backlog", || reader.is_finished()).await;
    assert_eq!(push.stats().reconnects, 1);
    drop(accepted);
}
