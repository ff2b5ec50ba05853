//! Lines to a bulk endpoint: a real server's, and one that says what a test wants.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test; helpers outside #[test] functions are not told apart")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use support::{batch, mtrace};
use zibrato_trial::{Elastic, Proxy, until};
use zibrato_worker::{Accepted, Backend as _, BackendError};

fn count(server: &Elastic, index: &str) -> Result<u64, String> {
    server.ask("POST", &format!("/{index}/_refresh"), "")?;
    let answer = server.ask("GET", &format!("/{index}/_count"), "")?;
    let answer: serde_json::Value = serde_json::from_str(&answer).map_err(|why| why.to_string())?;
    answer["count"].as_u64().ok_or_else(|| answer.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_stored_once_in_the_index_of_their_day() {
    let Some(mut server) = Elastic::start() else { return };
    let proxy = Proxy::start(server.port());
    let url = format!("http://127.0.0.1:{}", proxy.port());
    let mut backend = mtrace(&["--bulk-url", &url, "--gzip"]);
    // Midnight is between the fifth and the sixth.
    for _ in 0..2 {
        assert_eq!(backend.send(&batch(1, 0..300)).await, Ok(Accepted::All));
    }
    assert_eq!(count(&server, "zibrato-mtrace-2026.01.02"), Ok(5));
    assert_eq!(count(&server, "zibrato-mtrace-2026.01.03"), Ok(295), "a repeat has overwritten itself");
    let query = r#"{"size":1000,"query":{"bool":{"filter":[{"term":{"verdict.keyword":"refused"}},
        {"range":{"@timestamp":{"gte":"2026-01-03T00:00:10Z"}}}]}}}"#;
    let found = server.ask("POST", "/zibrato-mtrace-*/_search", query).unwrap();
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    let hits = found["hits"]["hits"].as_array().unwrap();
    assert_eq!(hits.len(), 20, "{found}");
    assert_eq!(hits[0]["_source"]["metric"], "wébsite \"requests\"");
    assert_eq!(hits[0]["_source"]["why"], "it is too long");

    // A connection that is reset half-way, a server that is away, and one that is back.
    proxy.reset_after(2000);
    let Err(BackendError::Retry { .. }) = backend.send(&batch(2, 300..600)).await else { panic!() };
    proxy.pass();
    server.server.stop();
    let Err(BackendError::Retry { why, .. }) = backend.send(&batch(2, 300..600)).await else { panic!() };
    assert!(why.contains("127.0.0.1"), "{why}");
    server.server.start();
    until("the server takes them", || {
        let runtime = tokio::runtime::Handle::current();
        let sent = tokio::task::block_in_place(|| runtime.block_on(backend.send(&batch(2, 300..600))));
        if sent == Ok(Accepted::All) { Ok(()) } else { Err(format!("{sent:?}")) }
    });
    assert!(count(&server, "zibrato-mtrace-2026.01.03").unwrap() >= 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_a_server_refuses_take_no_others_with_them() {
    let Some(server) = Elastic::start() else { return };
    // No text can be a number in this index.
    let mapping = r#"{"mappings":{"properties":{"why":{"type":"long"}}}}"#;
    server.ask("PUT", "/strict", mapping).unwrap();
    let url = format!("http://127.0.0.1:{}", server.port());
    let mut backend = mtrace(&["--bulk-url", &url, "--bulk-index", "strict"]);
    let Ok(Accepted::Partly { refused, retry }) = backend.send(&batch(1, 0..30)).await else { panic!() };
    assert_eq!(refused.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [9, 19, 29]);
    assert!(refused[0].1.starts_with("400: "), "{refused:?}");
    assert_eq!((retry.len(), count(&server, "strict")), (0, Ok(27)));
}

/// A server that gives one answer to each request, and what it was asked.
fn canned(answers: Vec<(u16, String)>) -> (u16, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = std::thread::spawn(move || {
        let serve = |(status, body): (u16, String)| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            let mut some = [0; 4096];
            loop {
                let head = String::from_utf8_lossy(&asked).to_lowercase();
                let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
                let length: Option<usize> = length.and_then(|length| length.parse().ok());
                if let (Some(length), Some(at)) = (length, head.find("\r\n\r\n"))
                    && asked.len() >= at + 4 + length
                {
                    break;
                }
                let read = stream.read(&mut some).unwrap();
                asked.extend_from_slice(&some[..read]);
            }
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
            .unwrap();
            String::from_utf8_lossy(&asked).into_owned()
        };
        answers.into_iter().map(serve).collect()
    });
    (port, serving)
}

#[tokio::test(flavor = "multi_thread")]
async fn items_are_looked_at_one_by_one_and_credentials_are_sent() {
    let items = r#"{"errors":true,"items":[{"index":{"status":201}},
        {"index":{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"queue is full"}}},
        {"index":{"status":400,"error":{"reason":"bad field","caused_by":{"reason":"no number"}}}}]}"#;
    let denied = r#"{"error":"who are you, s3cr3t-password?"}"#;
    let (port, serving) = canned(vec![(200, items.into()), (401, denied.into())]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "s3cr3t-password\n").unwrap();
    let path = file.path().to_str().unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let mut backend = mtrace(&["--bulk-url", &url, "--bulk-user", "me", "--bulk-password-file", path]);
    let refused = vec![(2, "400: bad field (no number)".to_owned())];
    assert_eq!(backend.send(&batch(1, 0..3)).await, Ok(Accepted::Partly { refused, retry: vec![1] }));
    let Err(BackendError::Retry { why, .. }) = backend.send(&batch(1, 1..2)).await else { panic!() };
    assert!(why.contains("401") && why.contains("check user, password or API key"), "{why}");
    assert!(!why.contains("s3cr3t"), "{why}");
    let asked = serving.join().unwrap();
    assert!(asked[0].starts_with("POST /_bulk HTTP/1.1"), "{}", asked[0]);
    assert!(asked[0].contains("authorization: Basic bWU6czNjcjN0LXBhc3N3b3Jk"), "{}", asked[0]);
    let ids: Vec<&str> = asked[0].lines().filter(|line| line.contains("\"_id\":")).collect();
    assert_eq!(ids.len(), 3);

    let (port, serving) = canned(vec![(200, r#"{"errors":false,"items":[]}"#.into())]);
    let url = format!("http://127.0.0.1:{port}");
    let mut backend = mtrace(&["--bulk-url", &url, "--bulk-api-key-file", path]);
    assert_eq!(backend.send(&batch(1, 0..1)).await, Ok(Accepted::All));
    assert!(serving.join().unwrap()[0].contains("authorization: ApiKey s3cr3t-password"));
}
