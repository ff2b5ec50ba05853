//! Asking servers over HTTP, without more than the standard library has: what they answer is small, and on loopback.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// An answer: its status, its head and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status, as in 204.
    pub status: u16,
    /// The head's lines, without the first.
    pub head: String,
    /// The body as text.
    pub body: String,
}

/// Gets `path`, which must be percent-encoded as far as is needed ([`encoded`]).
///
/// # Errors
/// What went wrong, also where the status is no 2xx.
pub fn get(port: u16, path: &str) -> Result<String, String> {
    succeeded(request(port, "GET", path, &[], ""))
}

/// Posts a body to `path`.
///
/// # Errors
/// As [`get`].
pub fn post(port: u16, path: &str, headers: &[(&str, &str)], body: &str) -> Result<String, String> {
    succeeded(request(port, "POST", path, headers, body))
}

fn succeeded(answer: Result<Answer, String>) -> Result<String, String> {
    match answer? {
        Answer { status: 200..300, body, .. } => Ok(body),
        other => Err(format!("answered {}: {}", other.status, other.body)),
    }
}

/// Sends a request to 127.0.0.1 and reads the whole answer. It speaks HTTP 1.0, so that the answer ends with the
/// connection.
///
/// # Errors
/// What went wrong on the way.
pub fn request(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl AsRef<[u8]>,
) -> Result<Answer, String> {
    let failed = |why: std::io::Error| format!("{method} {path} on port {port}: {why}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(failed)?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).map_err(failed)?;
    let body = body.as_ref();
    let mut head =
        format!("{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all((head + "\r\n").as_bytes()).map_err(failed)?;
    stream.write_all(body).map_err(failed)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(failed)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) =
        answer.split_once("\r\n\r\n").ok_or_else(|| format!("answered no HTTP: {answer:?}"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(Answer {
        status: status.ok_or_else(|| format!("answered without a status: {head}"))?,
        head: head.split_once("\r\n").map_or("", |(_, rest)| rest).to_owned(),
        body: body.to_owned(),
    })
}

/// Text as it stands in a query: everything but letters, digits and `-._~` is percent-encoded.
pub fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
