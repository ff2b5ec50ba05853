//! Frames come out as they went in, by level, with a beat beside them.
#![allow(clippy::unwrap_used)] // Also in what the tests share.

mod support;

use omq_tokio::SocketType;
use support::*;
use zibrato_core::frame::{State, decode};

#[tokio::test(flavor = "multi_thread")]
async fn frames_pass_unchanged_by_level() {
    let broker = start(config()).await;
    let info_only = subscriber(&broker.addresses, &["info|"]).await;
    let all = subscriber(&broker.addresses, &[""]).await;
    let push_end = connected(SocketType::Push, &broker.addresses.push).await;
    let frames: Vec<_> = (1..=100).map(|n| complete(1, n, n as i64)).collect();
    for (n, frame) in frames.iter().enumerate() {
        let topic = if n % 2 == 0 { "info|" } else { "information|" };
        push(&push_end, topic, frame).await;
    }
    for frame in frames.iter().step_by(2) {
        assert_eq!(next(&info_only).await, [b"info|".to_vec(), frame.clone()]);
    }
    for (n, frame) in frames.iter().enumerate() {
        let got = next(&all).await;
        assert_eq!(got[0], if n % 2 == 0 { &b"info|"[..] } else { b"information|" });
        assert_eq!(got[1], *frame);
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_measures_itself() {
    let broker = start(config()).await;
    let own = subscriber(&broker.addresses, &["zibrato|"]).await;
    let push_end = connected(SocketType::Push, &broker.addresses.push).await;
    push(&push_end, "info|", &complete(1, 1, 1)).await;
    push(&push_end, "info|", b"no frame").await;
    let told = async {
        loop {
            let message = parts(&own.recv().await.unwrap());
            if message[0] != b"zibrato|" {
                continue;
            }
            let decoded = decode(&message[1]).unwrap();
            assert_eq!(decoded.skipped, []);
            let has = |name: &str, tag: Option<(&str, &str)>| {
                decoded.frame.rows.iter().any(|row| {
                    *row.key.name == *name
                        && row.key.tags.iter().next() == tag
                        && matches!(row.state, State::Total(t) if t.whole == 1)
                })
            };
            if has("zibrato.broker.frames.in", None)
                && has("zibrato.broker.refused", Some(("reason", "wrong_type")))
                && has("zibrato.broker.level.frames", Some(("level", "info")))
            {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, told).await.unwrap();
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_beat_says_which_life_it_is() {
    let broker = start(config()).await;
    let beats = subscriber(&broker.addresses, &[]).await;
    let dealer = connected(SocketType::Dealer, &broker.addresses.ask).await;
    let boot = info(&dealer).await["boot"].as_str().unwrap().to_owned();
    let mut last = 0;
    for _ in 0..3 {
        let message = tokio::time::timeout(DEADLINE, beats.recv()).await.unwrap().unwrap();
        let body = message.part_slice(1).unwrap();
        assert_eq!(body[..4], [0x93, 1, 0xc4, 16]);
        assert_eq!(body[4..20].iter().map(|b| format!("{b:02x}")).collect::<String>(), boot);
        assert_eq!(body[20], 0xcf);
        let time = u64::from_be_bytes(body[21..29].try_into().unwrap());
        assert!(time > last);
        last = time;
    }
    broker.stop().await;
}
