//! Where a broker is.

use crate::Security;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// The port of a broker where none is given.
pub const DEFAULT_PORT: u16 = 5550;

/// The address of one broker, written `tcp://HOST[:P]`.
///
/// HOST is a name, an IPv4 address, or an IPv6 address in brackets; P is the first of the broker's three
/// ports, 5550 by default.
///
/// ```
/// use zibrato_transport::Broker;
/// let broker: Broker = "tcp://[::1]".parse()?;
/// assert_eq!((broker.host.as_str(), broker.port), ("::1", 5550));
/// assert_eq!(broker.sub_address(), "tcp://[::1]:5551");
/// # Ok::<(), zibrato_transport::BadBroker>(())
/// ```
///
/// Two are equal that are at one address, however their connections are protected.
#[derive(Debug, Clone)]
pub struct Broker {
    /// The host, an IPv6 address without its brackets.
    pub host: String,
    /// The first of its three ports.
    pub port: u16,
    security: Security,
}

impl PartialEq for Broker {
    fn eq(&self, other: &Self) -> bool {
        (&self.host, self.port) == (&other.host, other.port)
    }
}

impl Eq for Broker {}

impl std::hash::Hash for Broker {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (&self.host, self.port).hash(state);
    }
}

impl Broker {
    /// The broker of that host, an IPv6 address without brackets, whose first port is `port`.
    pub fn new(host: impl Into<String>, port: u16) -> Broker {
        Broker { host: host.into(), port, security: Security::Plain }
    }

    /// The same, with connections that are protected so.
    pub fn secured(self, security: Security) -> Broker {
        Broker { security, ..self }
    }

    /// How connections to it are protected.
    pub fn security(&self) -> &Security {
        &self.security
    }

    /// Whether it is on this machine, so that nothing leaves it on the way there.
    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => self.host == "localhost" || self.host.ends_with(".localhost"),
        }
    }

    /// Where frames are pushed to (PULL).
    pub fn push_address(&self) -> String {
        self.address(0)
    }

    /// Where frames are published (PUB).
    pub fn sub_address(&self) -> String {
        self.address(1)
    }

    /// Where questions are answered (ROUTER).
    pub fn ask_address(&self) -> String {
        self.address(2)
    }

    /// The port that is `offset` (0 to 2) after the first; one made by hand may end at the last port.
    pub(crate) fn nth_port(&self, offset: u16) -> u16 {
        self.port.saturating_add(offset)
    }

    fn address(&self, offset: u16) -> String {
        Broker::new(self.host.clone(), self.nth_port(offset)).to_string()
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "tcp://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "tcp://{}:{}", self.host, self.port)
        }
    }
}

/// An address, or a list of them, that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadBroker {
    text: String,
    why: &'static str,
}

impl fmt::Display for BadBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read broker {:?}: {}", self.text, self.why)
    }
}

impl std::error::Error for BadBroker {}

impl FromStr for Broker {
    type Err = BadBroker;

    fn from_str(text: &str) -> Result<Self, BadBroker> {
        let (host, port) = split(text.trim()).map_err(|why| BadBroker { text: text.into(), why })?;
        Ok(Broker::new(host.to_ascii_lowercase(), port))
    }
}

fn split(text: &str) -> Result<(&str, u16), &'static str> {
    const FORM: &str = "write it as tcp://HOST or tcp://HOST:PORT";
    const BRACKETS: &str = "put an IPv6 address in brackets, as in tcp://[::1]:5550";
    let rest = text.strip_prefix("tcp://").ok_or(FORM)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(BRACKETS)?;
            host.parse::<Ipv6Addr>().map_err(|_| "what is in the brackets is no IPv6 address")?;
            (host, port)
        }
        None => {
            let (host, port) = rest.split_at(rest.find(':').unwrap_or(rest.len()));
            if port.bytes().filter(|&b| b == b':').count() > 1 {
                return Err(BRACKETS);
            }
            (host, port)
        }
    };
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || "/@,[]*?#".contains(c);
    if host.is_empty() || host.contains(forbidden) {
        return Err(FORM);
    }
    let port = match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().unwrap_or(0),
        Some(_) => 0,
        None if port.is_empty() => DEFAULT_PORT,
        None => return Err(FORM),
    };
    match port {
        1..=65533 => Ok((host, port)),
        _ => Err("its port must be a number from 1 to 65533, as the broker takes that one and the next two"),
    }
}

/// Reads a comma-separated list of brokers; blanks around commas do not count.
///
/// # Errors
/// When an address cannot be understood, the list is empty, or it names one broker twice.
pub fn parse_brokers(text: &str) -> Result<Vec<Broker>, BadBroker> {
    let mut brokers: Vec<Broker> = Vec::new();
    for address in text.split(',').map(str::trim).filter(|a| !a.is_empty()) {
        let broker: Broker = address.parse()?;
        if brokers.contains(&broker) {
            return Err(BadBroker { text: text.into(), why: "name each broker once" });
        }
        brokers.push(broker);
    }
    if brokers.is_empty() {
        return Err(BadBroker { text: text.into(), why: "name at least one broker" });
    }
    Ok(brokers)
}
