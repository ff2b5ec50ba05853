//! Servers start, stop, pause and are found or missed.
#![cfg(unix)]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use zibrato_trial::{Server, free_port, http, installed, until};

/// A server in the shell: it says when it runs, and how often it has been started.
fn shell() -> zibrato_trial::Setup {
    let script = "echo started >> starts; wc -l < starts; echo ready; while :; do sleep 0.02; echo alive > alive; done";
    Server::new("sh").args(["-c", script]).ready_when_it_says("ready")
}

#[test]
fn it_starts_and_stops_again_in_the_same_directory() {
    let mut server = shell().start();
    let directory = server.directory().to_owned();
    assert!(server.stop().is_some_and(|status| !status.success()));
    assert_eq!(server.id(), None);
    server.start();
    until("both starts are seen", || {
        let log = server.log();
        (log.contains('1') && log.contains('2')).then_some(()).ok_or(log)
    });
    server.kill();
    assert!(directory.exists());
    drop(server);
    assert!(!directory.exists());
}

#[test]
fn nothing_moves_while_it_is_paused() {
    let server = shell().start();
    let alive = server.directory().join("alive");
    let seen = || alive.exists().then_some(()).ok_or_else(|| "no sign of life".to_owned());
    until("it lives", seen);
    server.pause();
    // Paused within this time it may have written once more.
    std::thread::sleep(Duration::from_millis(100));
    std::fs::remove_file(&alive).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(!alive.exists());
    server.resume();
    until("it lives again", seen);
}

#[test]
fn what_ends_instead_of_starting_is_told_with_its_last_words() {
    let setup =
        Server::new("sh").args(["-c", "echo no such option; exit 3"]).ready_when_listening(free_port());
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| setup.start()));
    let Err(panic) = failed else { panic!("it has started") };
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains("no such option") && text.contains("exit status: 3"), "{text}");
}

#[test]
fn programs_are_found_or_missed() {
    assert!(installed("sh", "apt-get install dash"));
    if !zibrato_trial::required() {
        assert!(!installed("no-such-program", "nothing"));
    }
}

#[test]
fn answers_over_http_are_read() {
    let port = free_port();
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let server = std::thread::spawn(move || {
        for answer in ["HTTP/1.0 200 OK\r\nA: b\r\n\r\nbody", "HTTP/1.1 404 Not Found\r\n\r\nnothing"] {
            let (mut stream, _): (TcpStream, _) = listener.accept().unwrap();
            let mut head = [0; 1000];
            let read = stream.read(&mut head).unwrap();
            assert!(String::from_utf8_lossy(&head[..read]).starts_with("GET /q?a=%22b%22 HTTP/1.0\r\n"));
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let path = format!("/q?a={}", http::encoded("\"b\""));
    assert_eq!(http::get(port, &path).unwrap(), "body");
    assert_eq!(http::get(port, &path).unwrap_err(), "answered 404: nothing");
    server.join().unwrap();
}
