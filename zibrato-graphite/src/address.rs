//! Where carbon listens.

use std::str::FromStr;

/// An address of carbon's receivers for lines: `tcp://HOST[:PORT]` or `udp://HOST[:PORT]`; the port is 2003 where none is
/// given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A connection.
    Tcp(String),
    /// Datagrams.
    Udp(String),
}

/// Why an address cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadAddress;

impl std::fmt::Display for BadAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it is not of the form tcp://HOST:PORT or udp://HOST:PORT")
    }
}

impl std::error::Error for BadAddress {}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let (scheme, rest) = text.trim().split_once("://").ok_or(BadAddress)?;
        // A colon is the port's where it comes after the brackets of an IPv6 address.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse::<u16>().map_err(|_| BadAddress)?),
            _ => (rest, 2003),
        };
        let is_bracketed = host.starts_with('[') && host.ends_with(']');
        let is_odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '@' | '?' | '#');
        if host.is_empty() || host.contains(is_odd) || (host.contains(':') && !is_bracketed) {
            return Err(BadAddress);
        }
        match scheme {
            "tcp" => Ok(Address::Tcp(format!("{host}:{port}"))),
            "udp" => Ok(Address::Udp(format!("{host}:{port}"))),
            _ => Err(BadAddress),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Tcp(host) => write!(f, "tcp://{host}"),
            Address::Udp(host) => write!(f, "udp://{host}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        let read = |text: &str| text.parse::<Address>().map(|address| address.to_string());
        assert_eq!(read("tcp://carbon").unwrap(), "tcp://carbon:2003");
        assert_eq!(read("udp://[::1]:9").unwrap(), "udp://[::1]:9");
        for bad in ["carbon:2003", "http://c", "tcp://", "tcp://c:x", "tcp://::1", "tcp://u@c", "tcp://a/b"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
