//! Requests to the servers that no test can start: InfluxDB 2 and 3. And what `--dry-run` prints.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use support::*;
use zibrato_worker::{Accepted, Backend as _, Kind, Total, Value};

/// A server that gives each request the next answer; tells head and body of each.
fn server(answers: &'static [&'static str]) -> (String, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for answer in answers {
            let mut reader = BufReader::new(listener.accept().unwrap().0);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
            let length = head.to_lowercase();
            let length = length.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            tell.send((head, String::from_utf8(body).unwrap())).unwrap();
            let (status, body) = answer.split_once('|').unwrap_or((answer, ""));
            let answer = format!(
                "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            reader.into_inner().write_all(answer.as_bytes()).unwrap();
        }
    });
    (url, told)
}

/// A backend with a token.
fn with_token(url: &str, directory: &tempfile::TempDir) -> zibrato_influx::Influx {
    let file = directory.path().join("token");
    std::fs::write(&file, "s3cr3t-t0ken\n").unwrap();
    let token = file.to_str().unwrap();
    backend(&["--url", url, "--org", "My Org", "--bucket", "a&b", "--token-file", token, "--precision", "us"])
}

#[tokio::test]
async fn a_bucket_is_written_to_with_a_token() {
    let (url, told) = server(&["204 No Content"]);
    let directory = tempfile::tempdir().unwrap();
    let mut backend = with_token(&url, &directory);
    let batch = batch(1_795_288_470_000_000_000, vec![tagged(counter("a b", 7), &[("c,d", "e=f")])]);
    assert_eq!(send(&mut backend, &batch).await, Ok(Accepted::All));
    let (head, body) = told.recv().unwrap();
    assert!(
        head.starts_with("POST /api/v2/write?org=My+Org&bucket=a%26b&precision=us HTTP/1.1\r\n"),
        "{head}"
    );
    for header in ["authorization: Token s3cr3t-t0ken\r\n", "content-type: text/plain; charset=utf-8\r\n"] {
        assert!(head.contains(header), "{head}");
    }
    assert_eq!(body, "a\\ b,source=web1,c\\,d=e\\=f counter=7i 1795288470000000\n");
    for text in [format!("{backend:?}"), backend.render(&batch)] {
        assert!(!text.contains("s3cr3t"), "{text}");
    }
}

#[tokio::test]
async fn errors_of_influxdb_2_are_understood() {
    let (url, told) = server(&[
        r#"422 no|{"code":"unprocessable entity","message":"failure writing points to database: partial write: field type conflict: input field \"counter\" on measurement \"c\" is type integer, already exists as type float dropped=1"}"#,
        r#"422 no|{"code":"unprocessable entity","message":"partial write: field type conflict: c dropped=1"}"#,
        "204 No Content",
        r#"401 no|{"code":"unauthorized","message":"unauthorized access s3cr3t-t0ken"}"#,
        r#"404 no|{"code":"not found","message":"bucket \"a&b\" not found"}"#,
        "429 no\r\nRetry-After: 30",
    ]);
    let directory = tempfile::tempdir().unwrap();
    let mut backend = with_token(&url, &directory);
    let some = batch(now(), ["a", "b", "c", "d"].map(|name| counter(name, 1)).to_vec());
    let found = refused(send(&mut backend, &some).await);
    assert!(
        found.len() == 1 && found[0].0 == 2 && found[0].1.contains("answered 422: partial write"),
        "{found:?}"
    );
    assert_eq!(told.try_iter().map(|(_, body)| body.lines().count()).collect::<Vec<_>>(), [4, 1, 3]);
    let (why, _) = later(send(&mut backend, &some).await);
    assert!(
        why.ends_with("unauthorized access (token): check the user name and the password, or the token"),
        "{why}"
    );
    let (why, _) = later(send(&mut backend, &some).await);
    assert!(why.contains("bucket \"a&b\" not found: check that"), "{why}");
    let (_, after) = later(send(&mut backend, &some).await);
    assert_eq!(after.map(|wait| wait.as_secs()), Some(30));
}

#[test]
fn a_dry_run_shows_the_request() {
    let url = ["--url", "https://example.org/influx", "--database", "metrics", "--precision", "s"];
    let more = ["--consistency", "quorum", "--source-tag", "host", "--floats"];
    let backend = backend(&[&url[..], &more].concat());
    let mixed = measurement("mixed", Kind::Counter, Value::Counter(Total { whole: 2, float: 0.25 }));
    let batch = batch(1_795_288_470_000_000_000, vec![counter("calls", 7), mixed, gauge("bad", f64::NAN)]);
    let expected = "\
POST https://example.org/influx/write?db=metrics&precision=s&consistency=quorum
calls,host=web1 counter=7 1795288470
mixed,host=web1 counter=2.25 1795288470
not sent: bad of \"web1\": it is not a finite number
";
    assert_eq!(backend.render(&batch), expected);
}

#[test]
fn the_documentation_shows_what_is_written() {
    let documentation = include_str!("../../docs/influx.md");
    let shown = documentation.split("```\nPOST ").nth(1).unwrap().split("```").next().unwrap();
    let measurements = vec![
        tagged(counter("app.calls", 42), &[("code", "200")]),
        measurement("app.users", Kind::Updown, Value::Updown(Total::whole(-3))),
        gauge("app.heat", 21.5),
        timer("app.time", &[50_000_000; 4]),
        point("app.rain", 1_795_288_465_250_000_000, 0.5),
    ];
    let batch = batch(1_795_288_470_000_000_000, measurements);
    let rendered = backend(&["--database", "metrics"]).render(&batch);
    // The squares are of what the histogram keeps.
    let without = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split(",timer_sum_squares").next().unwrap().to_owned()).collect()
    };
    assert_eq!(without(&format!("POST {shown}")), without(&rendered));
}
