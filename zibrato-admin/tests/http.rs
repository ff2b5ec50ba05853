//! What the admin port answers, and to whom it does not yield.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use zibrato_admin::{Help, Options, Part, Server};
use zibrato_core::frame::{Key, Kind, Row, State, Tags, Total};

const LONG: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Program {
    troubles: Mutex<Vec<String>>,
    lacks: Mutex<Vec<String>>,
    /// Held by a test, it is a program that is stuck.
    lock: Mutex<()>,
    asked: AtomicUsize,
    panics: bool,
}

impl Part for Program {
    fn troubles(&self) -> Vec<String> {
        self.troubles.lock().unwrap().clone()
    }

    fn lacks(&self) -> Vec<String> {
        self.lacks.lock().unwrap().clone()
    }

    fn metrics(&self) -> Vec<Row> {
        let _waits = self.lock.lock().unwrap();
        let asked = self.asked.fetch_add(1, Relaxed);
        assert!(!self.panics, "a fault of the program's");
        let (name, source) = ("zibrato.broker.asks".into(), "s".into());
        let key = Key { kind: Kind::Counter, name, source, tags: Tags::none(), born: 0 };
        vec![Row { key, state: State::Total(Total::whole(asked as i64)), trace: None, event: None }]
    }

    fn help(&self) -> Help {
        &[("zibrato.broker.asks", "Questions")]
    }

    fn status(&self) -> String {
        "{\"x\":1}".into()
    }
}

fn start(program: &Arc<Program>) -> Server {
    let options = Options { admin: Some("127.0.0.1:0".into()), ..Options::default() };
    Server::start(&options, program.clone()).unwrap().unwrap()
}

fn open(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// All that comes after this was written; empty where the other end just closes.
fn exchange(at: SocketAddr, request: &[u8]) -> String {
    let mut stream = open(at);
    // The other end may have closed before it has read everything, which resets the connection.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn get(at: SocketAddr, path: &str) -> (u16, String) {
    let answer = exchange(at, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path}: {answer:?}"));
    (head[9..12].parse().unwrap(), body.into())
}

#[test]
fn it_tells_how_the_program_is() {
    let program = Arc::new(Program::default());
    let server = start(&program);
    let at = server.address();
    assert_eq!(get(at, "/healthz"), (200, "{\"healthy\":true,\"reasons\":[]}\n".into()));
    assert_eq!(get(at, "/readyz?verbose").0, 200);
    program.lacks.lock().unwrap().push("no broker is heard".into());
    assert_eq!(get(at, "/healthz").0, 200);
    assert_eq!(get(at, "/readyz"), (503, "{\"ready\":false,\"reasons\":[\"no broker is heard\"]}\n".into()));
    program.troubles.lock().unwrap().push("stuck".into());
    assert_eq!(get(at, "/healthz"), (503, "{\"healthy\":false,\"reasons\":[\"stuck\"]}\n".into()));
    assert!(get(at, "/readyz").1.contains("[\"stuck\",\"no broker is heard\"]"));
    let metrics = get(at, "/metrics").1;
    assert!(
        metrics.contains("\nzibrato_healthy 0\n") && metrics.ends_with("\nzibrato_ready 0\n"),
        "{metrics}"
    );
    let (status, metrics) = get(at, "/metrics");
    assert_eq!(status, 200);
    assert!(metrics.starts_with("# HELP zibrato_broker_asks_total Questions.\n# TYPE"), "{metrics}");
    assert_eq!(get(at, "/status"), (200, "{\"x\":1}\n".into()));
    assert_eq!((get(at, "/").0, get(at, "/nothing").0), (200, 404));
    let head = exchange(at, b"HEAD /status HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("content-length: 8"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    let post = exchange(at, b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nx=1\n");
    assert!(post.starts_with("HTTP/1.1 405") && post.contains("allow: GET, HEAD"), "{post}");
}

#[test]
fn asking_all_the_time_costs_no_more() {
    let program = Arc::new(Program::default());
    let server = start(&program);
    let begun = std::time::Instant::now();
    for _ in 0..100 {
        assert_eq!(get(server.address(), "/metrics").0, 200);
    }
    // Each is good for a while.
    let most = 1 + begun.elapsed().as_millis() as usize / 200;
    assert!(program.asked.load(Relaxed) <= most, "{} of {most}", program.asked.load(Relaxed));
}

#[test]
fn a_stuck_program_still_says_so() {
    let program = Arc::new(Program::default());
    let server = start(&program);
    let at = server.address();
    let stuck = program.lock.lock().unwrap();
    let waiting: Vec<_> = (0..20).map(|_| std::thread::spawn(move || get(at, "/metrics").0)).collect();
    for _ in 0..20 {
        assert_eq!((get(at, "/healthz").0, get(at, "/status").0), (200, 200));
    }
    for one in waiting {
        assert_eq!(one.join().unwrap(), 503);
    }
    drop(stuck);
    let begun = std::time::Instant::now();
    while get(at, "/metrics").0 != 200 {
        assert!(begun.elapsed() < LONG);
    }
    drop(server);
}

#[test]
fn a_panic_takes_nothing_else_with_it() {
    let program = Arc::new(Program { panics: true, ..Program::default() });
    let server = start(&program);
    assert_eq!(get(server.address(), "/metrics").0, 503);
    assert_eq!((get(server.address(), "/metrics").0, get(server.address(), "/healthz").0), (503, 200));
}

#[test]
fn no_client_brings_it_down() {
    let program = Arc::new(Program::default());
    let server = start(&program);
    let at = server.address();
    // Many that say nothing, or only begin to.
    let held: Vec<TcpStream> = (0..300)
        .map(|number| {
            let mut stream = open(at);
            if number % 2 == 0 {
                let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nX-");
            }
            stream
        })
        .collect();
    assert_eq!(get(at, "/healthz").0, 200);
    drop(held);
    let header = |size: usize| format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(size));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(100));
    for request in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(100),
        b"GET\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nzzz\r\n".to_vec(),
        vec![0; 1 << 20],
        header(1 << 20).into_bytes(),
        many.into_bytes(),
        format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 17)).into_bytes(),
    ] {
        let answer = exchange(at, &request);
        assert!(
            answer.is_empty() || ["HTTP/1.1 4", "HTTP/1.1 200"].iter().any(|a| answer.starts_with(a)),
            "{answer}"
        );
        assert_eq!(get(at, "/healthz").0, 200);
    }
    // One that asks and goes.
    for _ in 0..100 {
        let _ = open(at).write_all(b"GET /metrics HTTP/1.1\r\n\r\n");
    }
    assert_eq!(get(at, "/metrics").0, 200);
}
