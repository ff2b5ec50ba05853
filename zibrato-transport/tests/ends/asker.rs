//! DEALER against brokers that answer, are restarted, or say nothing.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not marked as tests")]

use crate::support::*;
use omq_tokio::{Message as Parts, Socket, SocketType};
use std::time::Duration;
use zibrato_core::ask::{Cursor, Message};
use zibrato_core::frame::InstanceId;
use zibrato_transport::{Asker, Broker};

async fn router(broker: &Broker) -> Socket {
    listen(SocketType::Router, &broker.ask_address()).await
}

/// The next message and who sent it.
async fn heard(router: &Socket) -> (Vec<u8>, Message) {
    let mut all = parts(&within("a question", router.recv()).await.unwrap());
    let who = all.remove(0);
    (who, Message::decode(&all).unwrap())
}

async fn answer(router: &Socket, who: &[u8], message: &Message) {
    let all = std::iter::once(who.to_vec()).chain(message.encode());
    router.send(Parts::multipart(all)).await.unwrap();
}

fn ask(id: u64) -> Message {
    Message::Ask { id, levels: vec!["info".into()], cursor: None, talking: false }
}

fn done(id: u64) -> Message {
    Message::Done { id, count: 1, cursor: Cursor { boot: [1; 16], position: 5 } }
}

#[tokio::test]
async fn every_message_makes_the_round_trip() {
    let broker = free();
    let router = router(&broker).await;
    let mut asker = Asker::start(&broker);
    let frame = vec![9; 1 << 20];
    for message in [
        Message::Hand { topic: b"info|".to_vec(), frame: frame.clone() },
        ask(u64::MAX),
        Message::Info { id: 3 },
    ] {
        assert!(asker.send(message.clone()));
        assert_eq!(heard(&router).await.1, message);
    }
    asker.send(ask(1));
    let (who, _) = heard(&router).await;
    for message in [
        Message::Ack { instance: InstanceId([2; 16]), level: "info".into(), sequence: 7 },
        Message::Kept { id: 1, index: 0, held: 5, topic: b"info|".to_vec(), frame },
        done(1),
        Message::Told { id: 1, json: "{}".into() },
        Message::Refused { why: "full".into() },
    ] {
        answer(&router, &who, &message).await;
        assert_eq!(within("the answer", asker.recv()).await, message);
    }
    assert!(asker.stats().connected);
    assert_eq!(asker.stats().reconnects, 0);
}

#[tokio::test]
async fn what_cannot_be_understood_is_counted() {
    let broker = free();
    let router = router(&broker).await;
    let mut asker = Asker::start(&broker);
    asker.send(ask(1));
    let (who, _) = heard(&router).await;
    for bad in [vec![who.clone(), vec![]], vec![who.clone(), b"nonsense".to_vec(), vec![0xc1]]] {
        router.send(Parts::multipart(bad)).await.unwrap();
    }
    answer(&router, &who, &done(1)).await;
    assert_eq!(within("the answer", asker.recv()).await, done(1));
    assert_eq!(asker.stats().malformed, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_restarted_is_asked_again() {
    let broker = free();
    let mut asker = Asker::start(&broker);
    // Sent when nobody is there.
    assert!(asker.send(ask(0)));
    for life in 0..3 {
        let router = router(&broker).await;
        let mut asked = 0;
        let (who, message) = within("a question of this life", async {
            loop {
                // Lost messages are the caller's business: it repeats.
                asked += 1;
                asker.send(ask(asked));
                if let Ok(got) = tokio::time::timeout(Duration::from_millis(50), heard(&router)).await {
                    return got;
                }
            }
        })
        .await;
        let Message::Ask { id, .. } = message else { panic!("{message:?}") };
        answer(&router, &who, &done(id + life)).await;
        assert_eq!(within("the answer", asker.recv()).await, done(id + life));
    }
    assert!(asker.stats().reconnects >= 2, "{:?}", asker.stats());
}

#[tokio::test]
async fn a_broker_that_goes_is_noticed_without_sending() {
    let broker = free();
    let first = router(&broker).await;
    let asker = Asker::start(&broker);
    soon("a connection", || asker.stats().connected).await;
    drop(first);
    soon("its end", || !asker.stats().connected).await;
    let _second = router(&broker).await;
    soon("another", || asker.stats().connected).await;
    assert_eq!(asker.stats().reconnects, 1);
}

#[tokio::test]
async fn a_peer_that_never_greets_does_not_hold_it() {
    let broker = free();
    let hole = tokio::net::TcpListener::bind((broker.host.as_str(), broker.port + 2)).await.unwrap();
    let asker = Asker::start(&broker);
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(within("a connection", hole.accept()).await.unwrap());
    }
    drop((hole, held));
    let router = router(&broker).await;
    asker.send(ask(7));
    assert_eq!(heard(&router).await.1, ask(7));
}

/// Takes the five seconds after which an answer is missed.
#[tokio::test]
async fn a_broker_that_never_answers_gets_a_new_connection() {
    let broker = free();
    let router = router(&broker).await;
    let asker = Asker::start(&broker);
    asker.send(ask(1));
    let (first, _) = heard(&router).await;
    soon("another connection", || asker.stats().reconnects == 1 && asker.stats().connected).await;
    asker.send(ask(2));
    let (second, message) = heard(&router).await;
    assert_eq!(message, ask(2));
    assert_ne!(first, second);
}

#[tokio::test]
async fn what_waits_is_bounded_and_not_doubled() {
    let broker = free();
    let asker = Asker::start(&broker);
    let frame = vec![0; 1 << 20];
    let hand = |id: u8| {
        let mut frame = frame.clone();
        frame[0] = id;
        Message::Hand { topic: b"info|".to_vec(), frame }
    };
    for id in (0..20).chain(0..20).chain(0..20) {
        assert!(asker.send(hand(id)), "the first and the same again");
    }
    let more = (20..60).filter(|&id| asker.send(hand(id))).count();
    // Twenty were there before; fewer than twelve fit, for they cost more than their bytes.
    assert_eq!(more, 11);
    let router = router(&broker).await;
    assert!(matches!(heard(&router).await.1, Message::Hand { .. }));
}

#[test]
fn close_writes_everything_out_within_its_deadline() {
    for mut builder in
        [tokio::runtime::Builder::new_current_thread(), tokio::runtime::Builder::new_multi_thread()]
    {
        builder.enable_all().build().unwrap().block_on(async {
            let broker = free();
            let router = router(&broker).await;
            let asker = Asker::start(&broker);
            let frame = vec![1; 100 << 10];
            for _ in 0..20 {
                asker.send(ask(1));
            }
            for id in 0..100u8 {
                let frame = frame.iter().map(|b| b ^ id).collect();
                assert!(asker.send(Message::Hand { topic: b"info|".to_vec(), frame }));
            }
            let reader = tokio::spawn(async move {
                assert_eq!(heard(&router).await.1, ask(1));
                for id in 0..100 {
                    let Message::Hand { frame, .. } = heard(&router).await.1 else { panic!() };
                    assert_eq!(frame[0], 1 ^ id);
                }
            });
            assert!(asker.close(PATIENCE).await);
            within("everything", reader).await.unwrap();

            let nobody = Asker::start(&free());
            nobody.send(ask(1));
            assert!(!within("its deadline", nobody.close(Duration::from_millis(200))).await);
            assert!(within("nothing to write", Asker::start(&free()).close(PATIENCE)).await);
        });
    }
}
