//! The proxy does to connections what it is told.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use zibrato_trial::{Fault, Proxy};

/// A server that answers every byte, and ends when its client does; gives its port.
fn echo() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut copy = stream.try_clone().unwrap();
                drop(std::io::copy(&mut copy, &mut stream));
                drop(stream.shutdown(std::net::Shutdown::Write));
            });
        }
    });
    port
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn round_trip(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"hello")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    assert_eq!(&answer, b"hello");
    Ok(())
}

fn was_reset(result: &std::io::Result<()>) -> bool {
    result.as_ref().is_err_and(|why| matches!(why.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe))
}

#[test]
fn it_passes_refuses_and_passes_again() {
    let proxy = Proxy::start(echo());
    let mut stream = connect(&proxy);
    round_trip(&mut stream).unwrap();
    proxy.refuse();
    assert!(was_reset(&stream.read_exact(&mut [0])), "the old connection lives");
    assert_eq!(
        TcpStream::connect(("127.0.0.1", proxy.port())).unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    proxy.pass();
    round_trip(&mut connect(&proxy)).unwrap();
    assert_eq!((proxy.connections(), proxy.resets(), proxy.bytes()), (2, 1, 10));
}

#[test]
fn it_hangs_and_goes_on() {
    let proxy = Proxy::start(echo());
    proxy.hang();
    let mut stream = connect(&proxy);
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    stream.write_all(b"hello").unwrap();
    assert!(stream.read_exact(&mut [0; 5]).is_err());
    assert_eq!(proxy.bytes(), 0);
    proxy.pass();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.read_exact(&mut [0; 5]).unwrap();
    // Neither does an end move.
    proxy.hang();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(stream.read(&mut [0]).is_err());
    proxy.pass();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn it_resets_after_so_many_bytes_of_each_connection() {
    let proxy = Proxy::start(echo());
    let mut old = connect(&proxy);
    round_trip(&mut old).unwrap();
    proxy.reset_after(8);
    round_trip(&mut old).unwrap();
    assert!(was_reset(&round_trip(&mut old)));
    let mut new = connect(&proxy);
    round_trip(&mut new).unwrap();
    assert!(was_reset(&round_trip(&mut new)));
    assert_eq!(proxy.bytes(), 5 + 8 + 8);
}

#[test]
fn it_loses_answers_but_not_questions() {
    let proxy = Proxy::start(echo());
    proxy.lose_answers();
    assert!(was_reset(&round_trip(&mut connect(&proxy))));
    assert_eq!(proxy.bytes(), 5);
}

#[test]
fn it_is_as_slow_as_told() {
    let proxy = Proxy::start(echo());
    proxy.set(Fault::Slow(100));
    let began = Instant::now();
    round_trip(&mut connect(&proxy)).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_of_use_within_a_runtime() {
    let proxy = Proxy::start(echo());
    proxy.refuse();
    proxy.pass();
    round_trip(&mut connect(&proxy)).unwrap();
}
