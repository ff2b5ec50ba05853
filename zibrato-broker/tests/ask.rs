//! Handing over and asking.
#![allow(clippy::unwrap_used)] // Also in what the tests share.

mod support;

use omq_tokio::SocketType;
use support::*;
use zibrato_core::ask::{Cursor, Message};
use zibrato_core::frame::{Flags, InstanceId, encode_set};

fn hand(frame: &[u8]) -> Message {
    Message::Hand { topic: b"info|".to_vec(), frame: frame.to_vec() }
}

fn ack(instance: u8, sequence: u64) -> Message {
    Message::Ack { instance: InstanceId([instance; 16]), level: "info".into(), sequence }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_set_is_acknowledged_when_all_parts_are_here() {
    for state in [None, Some(tempfile::tempdir().unwrap())] {
        let path = state.as_ref().map(|d| d.path().to_owned());
        let broker = start(zibrato_broker::Config { state: path, ..config() }).await;
        let seen = subscriber(&broker.addresses, &["info|"]).await;
        let dealer = connected(SocketType::Dealer, &broker.addresses.ask).await;
        let rows: Vec<_> = (0..20).map(|n| counter(&format!("c{n}"), n)).collect();
        let frames = last(3, 5, &rows, 250);
        assert!(frames.len() > 2);
        for frame in &frames[1..] {
            send(&dealer, &hand(frame)).await;
        }
        // Nothing is acknowledged yet: the answer to what comes later is the first to arrive.
        assert_eq!(info(&dealer).await["acks"], 0);
        send(&dealer, &hand(&frames[0])).await;
        assert_eq!(receive(&dealer).await, ack(3, 5));
        // Said again, acknowledged again.
        send(&dealer, &hand(&frames[1])).await;
        assert_eq!(receive(&dealer).await, ack(3, 5));
        // It was published, too.
        for frame in frames[1..].iter().chain(&frames[..1]) {
            assert_eq!(next(&seen).await[1], *frame);
        }
        let (kept, _) = ask(&dealer, &["info"], None).await;
        let mut got: Vec<_> = kept.into_iter().flat_map(|k| totals(&k.2)).collect();
        got.sort_by_key(|t| t.1);
        assert_eq!(got, rows.iter().map(|r| r.key.name.to_string()).zip(0..20).collect::<Vec<_>>());
        broker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_the_levels_asked_for_and_a_cursor_shortens_it() {
    let broker = start(config()).await;
    let dealer = connected(SocketType::Dealer, &broker.addresses.ask).await;
    let push_end = connected(SocketType::Push, &broker.addresses.push).await;
    push(&push_end, "info|", &complete(1, 1, 10)).await;
    push(&push_end, "debug|", &complete(1, 1, 20)).await;
    push(&push_end, "error|", &complete(2, 1, 30)).await;
    until(&dealer, |told| told["frames_in"] == 3).await;
    let (kept, cursor) = ask(&dealer, &["info", "error"], None).await;
    let mut topics: Vec<_> = kept.iter().map(|k| k.1.clone()).collect();
    topics.sort();
    assert_eq!(topics, [b"error|".to_vec(), b"info|".to_vec()]);
    // Nothing ended or fell silent yet, unless this machine was very slow: all that may come is known already.
    let (more, cursor) = ask(&dealer, &["info"], Some(cursor)).await;
    assert!(more.iter().all(|k| k.2 == complete(1, 1, 10)));
    // What ends comes beyond the cursor.
    let frame = last(4, 1, &[counter("c", 40)], 1 << 20).remove(0);
    send(&dealer, &hand(&frame)).await;
    assert_eq!(receive(&dealer).await, ack(4, 1));
    let (more, _) = ask(&dealer, &["info"], Some(cursor)).await;
    assert!(more.iter().any(|k| k.2 == frame));
    // A cursor of another life asks for everything.
    let other = Cursor { boot: [9; 16], ..cursor };
    let (all, _) = ask(&dealer, &["info"], Some(other)).await;
    assert_eq!(all.len(), 2);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_falls_silent_gets_a_place_beyond_the_cursor() {
    let broker = start(config()).await;
    let dealer = connected(SocketType::Dealer, &broker.addresses.ask).await;
    let push_end = connected(SocketType::Push, &broker.addresses.push).await;
    push(&push_end, "info|", &complete(1, 1, 10)).await;
    until(&dealer, |told| told["levels"]["info"]["frames"] == 1).await;
    let (_, cursor) = ask(&dealer, &["info"], None).await;
    until(&dealer, |told| told["position"].as_u64() > Some(cursor.position)).await;
    let (more, after) = ask(&dealer, &["info"], Some(cursor)).await;
    assert_eq!(more.len(), 1);
    assert!(more[0].0 >= 3_000_000_000, "it says how long it was held");
    assert!(after.position > cursor.position);
    assert_eq!(ask(&dealer, &["info"], Some(after)).await.0.len(), 0);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retired_sets_are_kept_beside_and_acknowledged() {
    let broker = start(config()).await;
    let dealer = connected(SocketType::Dealer, &broker.addresses.ask).await;
    let push_end = connected(SocketType::Push, &broker.addresses.push).await;
    let retire = |sequence, name: &str| {
        encode_set(&head(1, sequence, Flags::RETIRED), &[counter(name, 1)], 1 << 20).remove(0)
    };
    let (first, second) = (retire(2, "gone"), retire(4, "gone too"));
    for frame in [&first, &second] {
        send(&dealer, &hand(frame)).await;
    }
    assert_eq!(receive(&dealer).await, ack(1, 2));
    assert_eq!(receive(&dealer).await, ack(1, 4));
    push(&push_end, "info|", &complete(1, 9, 5)).await;
    until(&dealer, |told| told["levels"]["info"]["frames"] == 3).await;
    let (kept, _) = ask(&dealer, &["info"], None).await;
    let mut frames: Vec<_> = kept.into_iter().map(|k| k.2).collect();
    frames.sort();
    let mut wanted = vec![first, second, complete(1, 9, 5)];
    wanted.sort();
    assert_eq!(frames, wanted);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_is_refused() {
    let broker = start(config()).await;
    let dealer = connected(SocketType::Dealer, &broker.addresses.ask).await;
    for parts in [vec![&b"what"[..]], vec![b"hand", b"info|"], vec![b"ask", b"\xff"], vec![b"", b"info"]] {
        dealer.send(omq_tokio::Message::multipart(parts.iter().map(|p| p.to_vec()))).await.unwrap();
        assert!(matches!(receive(&dealer).await, Message::Refused { .. }), "{parts:?}");
    }
    send(&dealer, &ack(1, 1)).await;
    assert!(matches!(receive(&dealer).await, Message::Refused { .. }));
    send(&dealer, &hand(b"no frame")).await;
    assert_eq!(receive(&dealer).await, Message::Refused { why: "wrong_type".into() });
    broker.stop().await;
}
