//! Lines to syslog: RFC 5424, over UDP (RFC 5426), TCP with counted octets (RFC 6587), or a Unix socket.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use zibrato_core::trace::Verdict;

use crate::{Line, json};

/// The facility of local use 0.
const LOCAL0: u8 = 16;
/// How long the other end may take to close a connection after all was sent.
const CLOSING: Duration = Duration::from_secs(5);
/// What UDP can carry.
const DATAGRAM: usize = 65_507;

/// Where syslog listens: `udp://HOST[:PORT]`, `tcp://HOST[:PORT]` (port 514 by default) or `unix:///dev/log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A datagram for each line.
    Udp(String),
    /// A connection for each batch.
    Tcp(String),
    /// A datagram for each line to a Unix socket.
    Unix(PathBuf),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let host = |rest: &str| {
            let rest = rest.trim_end_matches('/');
            let has_port = rest.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty()
                    && (!host.contains(':') || host.ends_with(']'))
                    && port.parse::<u16>().is_ok()
            });
            match rest {
                "" => Err("the host is missing".to_owned()),
                _ if has_port => Ok(rest.to_owned()),
                _ if rest.contains(':') && !rest.ends_with(']') => Err(format!("{rest:?} is no HOST:PORT")),
                _ => Ok(format!("{rest}:514")),
            }
        };
        match text.trim().split_once("://") {
            Some(("udp", rest)) => host(rest).map(Target::Udp),
            Some(("tcp", rest)) => host(rest).map(Target::Tcp),
            Some(("unix", path)) if path.starts_with('/') => Ok(Target::Unix(path.into())),
            _ => Err("write udp://HOST:PORT, tcp://HOST:PORT or unix:///dev/log".into()),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Udp(host) => write!(f, "udp://{host}"),
            Target::Tcp(host) => write!(f, "tcp://{host}"),
            Target::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// Writes to syslog.
#[derive(Debug)]
pub(crate) struct Syslog {
    target: Target,
    host: String,
}

impl Syslog {
    pub(crate) fn new(target: Target) -> Syslog {
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        // What the RFC takes as a name: printable ASCII without blanks.
        let host: String = host.chars().filter(char::is_ascii_graphic).take(255).collect();
        Syslog { target, host: if host.is_empty() { "-".into() } else { host } }
    }

    /// A message with a line in it.
    pub(crate) fn message(&self, line: &Line, text: &str) -> String {
        let severity = match line.verdict {
            Verdict::Ok | Verdict::Unchanged => 6,
            Verdict::Retry => 4,
            Verdict::Refused | Verdict::Dropped => 3,
        };
        // The RFC takes microseconds at most.
        let time = json::rfc_3339(line.time / 1000 * 1000);
        let (priority, process) = (LOCAL0 * 8 + severity, std::process::id());
        format!("<{priority}>1 {time} {} zibrato-mtrace {process} {} - {text}", self.host, line.hop.name())
    }

    /// Sends messages; the error says what went wrong. Only over TCP it is known that they arrived.
    pub(crate) async fn send(&self, messages: &[String]) -> Result<(), String> {
        let sent = async {
            match &self.target {
                Target::Udp(address) => {
                    let any = if address.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
                    let socket = UdpSocket::bind(any).await?;
                    socket.connect(address).await?;
                    for message in messages {
                        socket.send(cut(message, DATAGRAM).as_bytes()).await?;
                    }
                    Ok(())
                }
                Target::Tcp(address) => {
                    let mut stream = TcpStream::connect(address).await?;
                    let framed: String =
                        messages.iter().map(|message| format!("{} {message}", message.len())).collect();
                    stream.write_all(framed.as_bytes()).await?;
                    stream.shutdown().await?;
                    // It closes when it has read all; until then it may be reset.
                    let end = tokio::time::timeout(CLOSING, stream.read(&mut [0; 64])).await;
                    end.map_or(Ok(()), |end| end.map(drop))
                }
                Target::Unix(path) => unix(path, messages).await,
            }
        };
        sent.await.map_err(|why: std::io::Error| format!("{}: {why}", self.target))
    }
}

#[cfg(unix)]
async fn unix(path: &std::path::Path, messages: &[String]) -> std::io::Result<()> {
    let socket = tokio::net::UnixDatagram::unbound()?;
    socket.connect(path)?;
    for message in messages {
        socket.send(message.as_bytes()).await?;
    }
    Ok(())
}

#[cfg(not(unix))]
async fn unix(_: &std::path::Path, _: &[String]) -> std::io::Result<()> {
    Err(std::io::Error::other("there are no Unix sockets here"))
}

fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_checked() {
        let target = |text: &str| text.parse::<Target>().map(|target| target.to_string());
        assert_eq!(target("udp://localhost"), Ok("udp://localhost:514".into()));
        assert_eq!(target("tcp://[::1]:601"), Ok("tcp://[::1]:601".into()));
        assert_eq!(target("tcp://[::1]"), Ok("tcp://[::1]:514".into()));
        assert_eq!(target(" unix:///dev/log "), Ok("unix:///dev/log".into()));
        for bad in ["", "localhost", "udp://", "tcp://a:b", "unix://log", "http://x", "tcp://a:70000"] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }
}
