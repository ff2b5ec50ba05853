//! Requests as a server sees them, and what is made of its answers.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use flate2::read::GzDecoder;
use zibrato_http::{Answer, Client, HeaderValue, Request, ServiceUrl, Way};

struct Seen {
    head: String,
    body: Vec<u8>,
}

/// A server that gives each connection this answer; nothing for an empty one.
fn server(answer: &'static str) -> (ServiceUrl, Receiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (requests, seen) = channel();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
            let head = head.to_lowercase();
            let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            let mut stream = reader.into_inner();
            stream.write_all(answer.as_bytes()).unwrap();
            if answer.is_empty() {
                open.push(stream);
            }
            let _ = requests.send(Seen { head, body });
        }
    });
    (url.parse().unwrap(), seen)
}

async fn post(service: &ServiceUrl, body: &str, gzip: bool) -> Result<Answer, String> {
    let client = Client::new(service, &Way::default(), Duration::from_millis(500)).unwrap();
    let request = Request::new(service.join("/write"), "text/plain", body.into())
        .header("x-more", HeaderValue::from_static("1"))
        .gzip(gzip);
    client.post(request).await
}

const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\nConnection: close\r\nX-Said: yes\r\n\r\n";

#[tokio::test]
async fn a_request_has_what_was_given() {
    let (service, seen) = server(NO_CONTENT);
    let answer = post(&service, "some text", false).await.unwrap();
    assert_eq!((answer.status, answer.header("x-said")), (204, Some("yes")));
    let Seen { head, body } = seen.recv().unwrap();
    assert!(head.starts_with("post /write http/1.1\r\n"), "{head}");
    for header in ["content-type: text/plain\r\n", "x-more: 1\r\n", "user-agent: zibrato/"] {
        assert!(head.contains(header), "{head}");
    }
    assert!(!head.contains("content-encoding"), "{head}");
    assert_eq!(body, b"some text");
}

#[tokio::test]
async fn a_body_is_compressed_on_demand() {
    let (service, seen) = server(NO_CONTENT);
    let text = "m v=1i 5\n".repeat(1000);
    post(&service, &text, true).await.unwrap();
    let Seen { head, body } = seen.recv().unwrap();
    assert!(head.contains("content-encoding: gzip\r\n") && body.len() < 1000, "{head}");
    let mut plain = String::new();
    GzDecoder::new(&*body).read_to_string(&mut plain).unwrap();
    assert!(plain == text);
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let (service, seen) = server("HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(post(&service, "x", false).await.unwrap().status, 302);
    assert_eq!(seen.try_iter().count(), 1);
}

#[tokio::test]
async fn trouble_on_the_way_is_explained() {
    let (silent, _seen) = server("");
    let why = post(&silent, "x", false).await.unwrap_err();
    assert_eq!(why, format!("{} did not answer in time", silent.to_string().trim_end_matches('/')));
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap()).parse().unwrap()
    };
    let why = post(&nobody, "x", false).await.unwrap_err();
    assert!(why.starts_with("no answer from http://127.0.0.1:") && why.contains("refused"), "{why}");
}
