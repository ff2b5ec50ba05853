//! Lines to an HTTP endpoint, whatever it answers.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::read::GzDecoder;
use support::*;
use zibrato_worker::{Accepted, Backend as _, BackendError};

/// What a request was: its head in lower case, and its lines.
type Seen = Arc<Mutex<Vec<(String, Vec<String>)>>>;

/// An endpoint that answers as it is told for the lines of each request.
fn endpoint(answer: impl Fn(usize, &[String]) -> &'static str + Send + 'static) -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/bulk", listener.local_addr().unwrap());
    let requests = Seen::default();
    let seen = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
            let head = head.to_lowercase();
            let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            let mut text = String::new();
            if head.contains("content-encoding: gzip") {
                GzDecoder::new(&*body).read_to_string(&mut text).unwrap();
            } else {
                text = String::from_utf8(body).unwrap();
            }
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            let answer = answer(seen.lock().unwrap().len(), &lines);
            seen.lock().unwrap().push((head, lines));
            let answer = format!("HTTP/1.1 {answer}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            // Who has given up waiting does not read it.
            let _ = reader.into_inner().write_all(answer.as_bytes());
        }
    });
    (url, requests)
}

fn later(result: Result<Accepted, BackendError>) -> (String, Option<Duration>) {
    match result {
        Err(BackendError::Retry { why, after }) => (why, after),
        other => panic!("expected a retry, got {other:?}"),
    }
}

#[tokio::test]
async fn requests_look_as_documented() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "s3cr3t-t0ken\n").unwrap();
    let (url, seen) = endpoint(|_, _| "204 No Content");
    let mut backend = backend(&["--url", &url, "--gzip", "--token-file", token.to_str().unwrap()]);
    let batch = batch(1, (0..1500).map(|i| counter(&format!("c{i}"), i)).collect());
    assert_eq!(backend.send(&batch).await, Ok(Accepted::All));
    let seen = seen.lock().unwrap();
    let head = &seen[0].0;
    for header in [
        "authorization: bearer s3cr3t-t0ken\r\n",
        "content-type: application/x-ndjson\r\n",
        "post /bulk http",
    ] {
        assert!(head.contains(header), "{head}");
    }
    let posted: Vec<String> = seen.iter().flat_map(|(_, lines)| lines.clone()).collect();
    assert_eq!((seen.len(), posted.join("\n") + "\n"), (2, backend.render(&batch)));
}

#[tokio::test]
async fn one_bad_line_takes_no_others_with_it() {
    for status in ["400 no", "422 no", "413 no"] {
        let bad = |line: &String| line.contains("\"c5\"");
        let (url, seen) = endpoint(move |_, lines| if lines.iter().any(bad) { status } else { "200 OK" });
        let mut backend = backend(&["--url", &url]);
        let result = backend.send(&batch(1, (0..9).map(|i| counter(&format!("c{i}"), i)).collect())).await;
        let Ok(Accepted::Partly { refused, retry }) = result else { panic!("{result:?}") };
        assert_eq!((refused.len(), refused[0].0, retry.len()), (1, 5, 0));
        assert!(refused[0].1.starts_with(&format!("answered {}", &status[..3])), "{refused:?}");
        let seen = seen.lock().unwrap();
        let whole = seen.iter().filter(|(_, lines)| !lines.iter().any(bad)).map(|(_, lines)| lines.len());
        assert_eq!(whole.sum::<usize>(), 8);
    }
}

#[tokio::test]
async fn whatever_else_is_answered_keeps_the_batch() {
    for (answer, says) in [
        ("401 no", "answered 401: check the token"),
        ("403 no", "check the token"),
        ("302 no", "check the URL"),
        ("404 no", "check the URL"),
        ("500 no", "answered 500"),
        ("429 no\r\nRetry-After: 7", "answered 429"),
    ] {
        let (url, _) = endpoint(move |number, _| if number == 0 { answer } else { "202 Accepted" });
        let mut backend = backend(&["--url", &url]);
        let batch = batch(1, vec![counter("c", 1)]);
        let (why, after) = later(backend.send(&batch).await);
        assert!(why.contains(says) && why.contains(&url), "{why}");
        assert_eq!(after.map(|wait| wait.as_secs()), answer.contains("Retry").then_some(7), "{answer}");
        assert_eq!(backend.send(&batch).await, Ok(Accepted::All));
    }
}

#[tokio::test]
async fn a_token_that_is_missing_keeps_the_batch() {
    let (url, seen) = endpoint(|_, _| "204 No Content");
    let mut backend = backend(&["--url", &url, "--token-file", "/no/such/file"]);
    let (why, _) = later(backend.send(&batch(1, vec![counter("c", 1)])).await);
    assert!(why.starts_with("failed to read the token file /no/such/file: "), "{why}");
    assert_eq!(seen.lock().unwrap().len(), 0);
}
