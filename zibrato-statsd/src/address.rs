//! Where the daemon listens.

use std::path::PathBuf;
use std::str::FromStr;

/// A daemon's address: `udp://HOST[:PORT]`, `tcp://HOST[:PORT]`, `unix:///PATH` (a stream) or `unixgram:///PATH`. The port
/// is 8125 where none is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Datagrams to a host and port.
    Udp(String),
    /// A stream to a host and port.
    Tcp(String),
    /// A stream to a socket file.
    Unix(PathBuf),
    /// Datagrams to a socket file.
    Unixgram(PathBuf),
}

/// StatsD's port.
const PORT: u16 = 8125;

/// Why an address cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadAddress(String);

impl std::fmt::Display for BadAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; use udp://HOST:PORT, tcp://HOST:PORT, unix:///PATH or unixgram:///PATH", self.0)
    }
}

impl std::error::Error for BadAddress {}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bad = |why: &str| BadAddress(why.to_owned());
        let (scheme, rest) = text.trim().split_once("://").ok_or_else(|| bad("it has no scheme"))?;
        match scheme {
            "udp" => Ok(Address::Udp(host_and_port(rest)?)),
            "tcp" => Ok(Address::Tcp(host_and_port(rest)?)),
            "unix" | "unixgram" if !rest.starts_with('/') || rest.contains('\0') => {
                Err(bad("it has no whole path after the ://"))
            }
            "unix" => Ok(Address::Unix(rest.into())),
            "unixgram" => Ok(Address::Unixgram(rest.into())),
            _ => Err(bad(&format!("{scheme:?} is no way to a StatsD daemon"))),
        }
    }
}

fn host_and_port(text: &str) -> Result<String, BadAddress> {
    let text = text.strip_suffix('/').unwrap_or(text);
    // A colon is the port's where it comes after the brackets of an IPv6 address.
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '@' | '?' | '#');
    if host.is_empty() || host.contains(odd) || (host.contains(':') && !is_bracketed) {
        return Err(BadAddress(format!("{host:?} is no host")));
    }
    let port: u16 = match port {
        None => PORT,
        Some(port) => port.parse().map_err(|_| BadAddress(format!("{port:?} is no port")))?,
    };
    Ok(format!("{host}:{port}"))
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Udp(host) => write!(f, "udp://{host}"),
            Address::Tcp(host) => write!(f, "tcp://{host}"),
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
            Address::Unixgram(path) => write!(f, "unixgram://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        let read = |text: &str| text.parse::<Address>().map(|address| address.to_string());
        for (text, meant) in [
            ("udp://localhost", "udp://localhost:8125"),
            ("udp://127.0.0.1:9125", "udp://127.0.0.1:9125"),
            ("tcp://[::1]:9125/", "tcp://[::1]:9125"),
            ("tcp://[::1]", "tcp://[::1]:8125"),
            ("unix:///run/statsd.sock", "unix:///run/statsd.sock"),
            ("unixgram:///run/dsd.socket", "unixgram:///run/dsd.socket"),
        ] {
            assert_eq!(read(text).unwrap(), meant);
        }
        for bad in [
            "localhost:8125",
            "http://h",
            "udp://",
            "udp://:1",
            "udp://h:p",
            "udp://h:70000",
            "tcp://::1",
            "tcp://u@h",
            "tcp://a b",
            "unix://relative",
            "unix://",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
