//! Rows that are marked for tracing are told of, and all other frames cost nothing.
#![allow(clippy::unwrap_used, reason = "a test; helpers outside #[test] functions are not told apart")]

mod support;

use std::sync::Arc;

use omq_tokio::{Socket, SocketType};
use support::*;
use zibrato_core::ask::Message;
use zibrato_core::frame::{Flags, Row, decode, encode_set};
use zibrato_core::level;
use zibrato_core::trace::{Event, Hop, Verdict};

fn marked(name: &str, total: i64, number: u64) -> Row {
    Row { trace: Some(number), ..counter(name, total) }
}

async fn events(asker: &Socket) -> Vec<Arc<Event>> {
    let (kept, _) = ask(asker, &[level::TRACE], None).await;
    let rows = kept.iter().flat_map(|(_, _, frame)| decode(frame).unwrap().frame.rows);
    rows.filter_map(|row| row.event).collect()
}

/// A total of the broker's own.
async fn own(asker: &Socket, name: &str) -> i64 {
    let (kept, _) = ask(asker, &[level::OWN], None).await;
    let all = kept.iter().flat_map(|(_, _, frame)| decode(frame).unwrap().frame.rows);
    let found = all.filter(|row| &*row.key.name == name).filter_map(|row| match row.state {
        zibrato_core::frame::State::Total(total) => Some(total.whole),
        _ => None,
    });
    found.last().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marked_rows_are_told_of_once_and_other_frames_are_not_decoded() {
    let broker = start(config()).await;
    let sub = subscriber(&broker.addresses, &["info|"]).await;
    let asker = connected(SocketType::Dealer, &broker.addresses.ask).await;
    let pusher = connected(SocketType::Push, &broker.addresses.push).await;
    for sequence in 1..=1000 {
        push(&pusher, "info|", &complete(1, sequence, 1)).await;
        next(&sub).await;
    }
    let traced = encode_set(&head(1, 1001, Flags::COMPLETE), &[counter("a", 1), marked("b", 5, 3)], 1 << 20);
    push(&pusher, "info|", &traced[0]).await;
    push(&pusher, "info|", &traced[0]).await;
    assert_eq!(
        (next(&sub).await[1].clone(), next(&sub).await[1].clone()),
        (traced[0].clone(), traced[0].clone())
    );
    let rows = [marked("b", 6, 4)];
    let last = encode_set(&head(1, 1002, Flags::COMPLETE.with(Flags::LAST)), &rows, 1 << 20).remove(0);
    for _ in 0..2 {
        send(&asker, &Message::Hand { topic: b"info|".to_vec(), frame: last.clone() }).await;
        assert!(matches!(receive(&asker).await, Message::Ack { sequence: 1002, .. }));
    }
    // Who tells of events has marked rows of its own at most by mistake.
    let odd = encode_set(&head(2, 1, Flags::COMPLETE), &[marked("c", 1, 1)], 1 << 20).remove(0);
    push(&pusher, "mtrace|", &odd).await;

    let start = std::time::Instant::now();
    let told = loop {
        let told = events(&asker).await;
        if told.len() >= 4 && own(&asker, "zibrato.broker.trace.events").await == 4 {
            break told;
        }
        assert!(start.elapsed() < DEADLINE, "{told:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let of = |number: u64| {
        let mut of: Vec<_> = told.iter().filter(|event| event.mark.number == number).collect();
        of.sort_by_key(|event| event.hop);
        of.iter()
            .map(|event| (event.hop, event.verdict, event.mark.sequence, event.mark.total.whole))
            .collect::<Vec<_>>()
    };
    let hops = |sequence, total| {
        vec![
            (Hop::BrokerReceived, Verdict::Ok, sequence, total),
            (Hop::BrokerPassedOn, Verdict::Ok, sequence, total),
        ]
    };
    assert_eq!((of(3), of(4), told.len()), (hops(1001, 5), hops(1002, 6), 4));
    assert_eq!(&*told[0].mark.level, "info");
    assert!(!told[0].by.is_empty() && told[0].time > 1_700_000_000_000_000_000);
    assert_eq!(own(&asker, "zibrato.broker.frames.traced").await, 2, "of more than a thousand frames");
    broker.stop().await;
}
