use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;
use zeromq::{PullSocket, PubSocket, PushSocket, Socket, SocketRecv, SocketSend, SubSocket, ZmqMessage, SocketEvent};
use futures::StreamExt;

#[tokio::test]
async fn sub_black_hole() {
    let l = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("tcp://{}", l.local_addr().unwrap());
    let port = l.local_addr().unwrap().port();
    let mut p = PubSocket::new();
    p.bind_listener(l).await.unwrap();
    let mut sub = SubSocket::new();
    sub.subscribe("").await.unwrap();
    sub.connect(&at).await.unwrap();
    p.close().await;
    let hole = loop { if let Ok(h) = tokio::net::TcpListener::bind(("127.0.0.1", port)).await { break h } tokio::time::sleep(Duration::from_millis(10)).await; };
    let got = tokio::spawn(async move { sub.recv().await.map(|m| m.into_vec()) });
    let (held, _) = hole.accept().await.unwrap();
    drop(hole);
    // a real publisher now listens, but the SUB waits for the first one's greeting
    let mut p = PubSocket::new();
    loop { if p.bind(&at).await.is_ok() { break } tokio::time::sleep(Duration::from_millis(10)).await; }
    for _ in 0..400 { let _ = p.send(ZmqMessage::from("x")).await; tokio::time::sleep(Duration::from_millis(100)).await; if got.is_finished() { break } }
    println!("sub_black_hole: received after 40 s: {}", got.is_finished());
    drop(held);
}

#[tokio::test]
async fn sub_dropped_while_stuck_leaks() {
    let l = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("tcp://{}", l.local_addr().unwrap());
    let port = l.local_addr().unwrap().port();
    let mut p = PubSocket::new();
    p.bind_listener(l).await.unwrap();
    let mut sub = SubSocket::new();
    sub.subscribe("").await.unwrap();
    sub.connect(&at).await.unwrap();
    p.close().await;
    let hole = loop { if let Ok(h) = tokio::net::TcpListener::bind(("127.0.0.1", port)).await { break h } tokio::time::sleep(Duration::from_millis(10)).await; };
    let t = tokio::spawn(async move { let _ = sub.recv().await; });
    let (held, _) = hole.accept().await.unwrap();
    t.abort(); let _ = t.await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!("sub_dropped: alive tasks 5 s after the drop: {}", tokio::runtime::Handle::current().metrics().num_alive_tasks());
    drop(held);
}

#[tokio::test]
async fn push_eof() {
    let mut pull = PullSocket::new();
    let at = pull.bind("tcp://127.0.0.1:0").await.unwrap().to_string();
    let mut push = PushSocket::new();
    let mut m = push.monitor();
    push.connect(&at).await.unwrap();
    push.send("a".into()).await.unwrap();
    pull.recv().await.unwrap();
    drop(pull);
    let mut gone = false;
    let _ = tokio::time::timeout(Duration::from_secs(5), async { while let Some(e) = m.next().await { if matches!(e, SocketEvent::Disconnected(_)) { gone = true; return } } }).await;
    println!("push_eof: noticed within 5 s: {gone}");
    let mut ok = 0;
    for _ in 0..100 { if push.send("b".into()).await.is_ok() { ok += 1 } tokio::time::sleep(Duration::from_millis(1)).await; }
    println!("push_eof: sends that returned Ok afterwards: {ok}");
}

#[tokio::test]
async fn empty_message() {
    let mut pull = PullSocket::new();
    let at = pull.bind("tcp://127.0.0.1:0").await.unwrap().to_string();
    let mut push = PushSocket::new();
    push.connect(&at).await.unwrap();
    let mut empty = ZmqMessage::from("a");
    let _ = empty.split_off(0);
    println!("empty_message: parts {}", empty.len());
    println!("send: {:?}", push.send(empty).await.is_ok());
    tokio::time::sleep(Duration::from_millis(100)).await;
    println!("send after: {:?}", push.send("b".into()).await.is_ok());
    println!("arrives: {:?}", tokio::time::timeout(Duration::from_secs(2), pull.recv()).await.is_ok());
}

#[test]
fn client_abort() {
    let l = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("tcp://{}", l.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut s, _) = l.accept().unwrap();
        let mut g = [0u8; 64]; g[0]=0xff; g[9]=0x7f; g[10]=3; g[12..16].copy_from_slice(b"NULL");
        s.write_all(&g).unwrap();
        s.write_all(&[2, 0x10,0,0,0,0,0,0,0]).unwrap();
        let _ = s.read(&mut [0;1000]);
        std::thread::sleep(Duration::from_secs(5));
    });
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let mut push = PushSocket::new();
        println!("client_abort: {:?}", push.connect(&at).await.is_err());
    });
}
