//! Answers that no honest service gives: bounded, and never a loss.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use support::*;
use zibrato_librato::{Librato, Token};
use zibrato_worker::{Accepted, BackendError};

/// A server that gives each connection this answer and, where `endless`, goes on with bytes until it is hung up on.
fn server(answer: Vec<u8>, endless: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 65536];
            let _ = stream.read(&mut request);
            let mut open = stream.write_all(&answer).is_ok();
            while endless && open {
                open = stream.write_all(&[b'x'; 4096]).is_ok();
            }
        }
    });
    url
}

async fn answered(answer: impl Into<Vec<u8>>, endless: bool) -> Result<Accepted, BackendError> {
    let url = server(answer.into(), endless);
    let options = options(&["--url", &url, "--username", USER]);
    let mut backend = Librato::with_token(options, Duration::from_secs(1), Token::new("a-long-token"));
    send(&mut backend, &batch(now(), vec![counter("c", 7), counter("d", 8)])).await
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let (why, _) = later(answered("HTTP/1.1 500 no\r\nContent-Length: 99999999999\r\n\r\n", true).await);
    assert!(why.len() < 600 && why.contains("xxxx"), "{why}");
}

#[tokio::test]
async fn nonsense_is_tried_again() {
    for answer in ["", "nonsense", "HTTP/1.1 ", "HTTP/1.1 999 x\r\n\r\n", "\0\0\0\0", "SSH-2.0-OpenSSH_9\r\n"]
    {
        later(answered(answer, false).await);
    }
}

#[tokio::test]
async fn a_message_is_one_clean_line_without_the_token() {
    let body = "<b>\u{1b}[31m\r\nyour token a-long-token\u{7}\n is wrong</b>";
    let answer = format!("HTTP/1.1 401 no\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let (why, _) = later(answered(answer, false).await);
    assert!(!why.contains("a-long-token") && !why.contains(char::is_control), "{why}");
}

#[tokio::test]
async fn deep_and_odd_bodies_do_no_harm() {
    let deep = format!("{{\"errors\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let bodies = [
        deep.as_str(),
        r#"{"errors":{"params":{"gauges":{"99999999999999999999999":{"value":[]}}}}}"#,
        r#"{"errors":{"params":{"gauges[18446744073709551616]":[null,1,true,{}]}}}"#,
        r#"{"errors":{"params":{"gauges[":["'","''","'''\"\""]}}}"#,
        r#"{"errors":["gauges[é] 'ü"]}"#,
        r#"{"errors":null}"#,
        "[]",
        "5",
        "",
    ];
    for body in bodies {
        let answer =
            format!("HTTP/1.1 400 no\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let Ok(Accepted::Partly { refused, retry }) = answered(answer, false).await else {
            panic!("{body:.80}")
        };
        assert_eq!((refused.len(), retry.len()), (2, 0), "{body:.80}");
    }
}
