//! Clients built on another ZeroMQ library, the `zeromq` crate, are served as well.
#![allow(clippy::unwrap_used)] // Also in what the tests share.

mod support;

use bytes::Bytes;
use support::*;
use zeromq::{DealerSocket, PushSocket, Socket, SocketRecv, SocketSend, SubSocket, ZmqMessage};
use zibrato_core::ask::Message;
use zibrato_core::frame::InstanceId;

fn message(parts: Vec<Vec<u8>>) -> ZmqMessage {
    let parts: Vec<Bytes> = parts.into_iter().map(Bytes::from).collect();
    ZmqMessage::try_from(parts).unwrap()
}

async fn answer(dealer: &mut DealerSocket) -> Message {
    let got = tokio::time::timeout(DEADLINE, dealer.recv()).await.unwrap().unwrap();
    Message::decode(&got.into_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn push_sub_and_dealer_of_the_zeromq_crate() {
    let state = tempfile::tempdir().unwrap();
    let broker = start(zibrato_broker::Config { state: Some(state.path().to_owned()), ..config() }).await;
    let mut sub = SubSocket::new();
    sub.connect(&broker.addresses.publish).await.unwrap();
    sub.subscribe("info|").await.unwrap();
    sub.subscribe("beat|").await.unwrap();
    // Three beats: the subscriptions are there.
    for _ in 0..3 {
        let beat = tokio::time::timeout(DEADLINE, sub.recv()).await.unwrap().unwrap();
        assert_eq!(beat.get(0).unwrap(), "beat|");
    }
    let mut push = PushSocket::new();
    push.connect(&broker.addresses.push).await.unwrap();
    for n in 1..=100 {
        push.send(message(vec![b"info|".to_vec(), complete(1, n, n as i64)])).await.unwrap();
    }
    let mut n = 0;
    while n < 100 {
        let got = tokio::time::timeout(DEADLINE, sub.recv()).await.unwrap().unwrap();
        if got.get(0).unwrap() == "info|" {
            n += 1;
            assert_eq!(got.get(1).unwrap()[..], complete(1, n, n as i64));
        }
    }
    let mut dealer = DealerSocket::new();
    dealer.connect(&broker.addresses.ask).await.unwrap();
    let frame = last(2, 9, &[counter("c", 1)], 1 << 20).remove(0);
    let hand = Message::Hand { topic: b"info|".to_vec(), frame };
    dealer.send(message(hand.encode())).await.unwrap();
    let ack = Message::Ack { instance: InstanceId([2; 16]), level: "info".into(), sequence: 9 };
    assert_eq!(answer(&mut dealer).await, ack);
    let ask = Message::Ask { id: 5, levels: vec!["info".into()], cursor: None, talking: false };
    dealer.send(message(ask.encode())).await.unwrap();
    for wanted in 0..2 {
        assert!(matches!(answer(&mut dealer).await, Message::Kept { id: 5, index, .. } if index == wanted));
    }
    assert!(matches!(answer(&mut dealer).await, Message::Done { id: 5, count: 2, .. }));
    broker.stop().await;
}
