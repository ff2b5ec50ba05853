//! The original StatsD, from npm.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use crate::installed::node_module;
use crate::ports::free_port;
use crate::server::Server;

/// The original StatsD, listening for datagrams and streams at once.
pub struct Statsd {
    /// The program.
    pub server: Server,
    /// Its UDP port.
    pub udp: u16,
    /// Its TCP port.
    pub tcp: u16,
    /// Its Unix socket, a stream.
    pub socket: PathBuf,
    admin: u16,
}

impl Statsd {
    /// Starts it with a flush of an hour, so that nothing is reset; `None` where it is not installed.
    ///
    /// # Panics
    /// As [`installed`](crate::installed) and [`Server::start`].
    pub fn start() -> Option<Statsd> {
        Self::start_with("flushInterval: 3600000, backends: ['./backends/console']")
    }

    /// Starts it with a flush of a second, after which it sends what it has to a Graphite at this port.
    ///
    /// # Panics
    /// As [`start`](Statsd::start).
    pub fn flushing_to(graphite: u16) -> Option<Statsd> {
        Self::start_with(&format!(
            "flushInterval: 1000, deleteIdleStats: true, backends: ['./backends/graphite'],
             graphiteHost: '127.0.0.1', graphitePort: {graphite}, graphite: {{ legacyNamespace: false }}"
        ))
    }

    fn start_with(more: &str) -> Option<Statsd> {
        let program = node_module("statsd/stats.js")?;
        let (udp, tcp, admin) = (free_port(), free_port(), free_port());
        let setup = Server::new("node");
        let socket = setup.directory().join("statsd.sock");
        let config = format!(
            "{{ mgmt_address: '127.0.0.1', mgmt_port: {admin}, {more}, servers: [
                {{ server: './servers/udp', address: '127.0.0.1', port: {udp} }},
                {{ server: './servers/tcp', address: '127.0.0.1', port: {tcp} }},
                {{ server: './servers/tcp', socket: '{}' }},
            ] }}",
            socket.display()
        );
        let also = socket.clone();
        let server = setup
            .file("config.js", &config)
            .arg(program)
            .arg("config.js")
            .ready(move || {
                ask(admin, "health").map(drop)?;
                TcpStream::connect(("127.0.0.1", tcp)).map_err(|why| format!("port {tcp}: {why}"))?;
                also.exists().then_some(()).ok_or_else(|| "its socket is missing".to_owned())
            })
            .start();
        Some(Statsd { server, udp, tcp, socket, admin })
    }

    /// Its counters, as it has added them up since it started.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn counters(&self) -> Result<BTreeMap<String, f64>, String> {
        ask(self.admin, "counters").map(|answer| numbers(&answer))
    }

    /// Its gauges.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn gauges(&self) -> Result<BTreeMap<String, f64>, String> {
        ask(self.admin, "gauges").map(|answer| numbers(&answer))
    }
}

/// Asks at the port for operators, and gives the answer.
fn ask(port: u16, command: &str) -> Result<String, String> {
    let failed = |why: std::io::Error| format!("{command} on port {port}: {why}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(failed)?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(failed)?;
    stream.write_all(format!("{command}\n").as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    let mut buffer = [0; 16 << 10];
    while !answer.ends_with("END\n\n") && !answer.starts_with("health:") {
        match stream.read(&mut buffer).map_err(failed)? {
            0 => return Err(format!("{command} on port {port}: it closed the connection")),
            read => answer += &String::from_utf8_lossy(&buffer[..read]),
        }
    }
    // It may have closed its side by itself.
    let _ = stream.shutdown(Shutdown::Both);
    Ok(answer)
}

/// What node prints of an object with numbers.
fn numbers(text: &str) -> BTreeMap<String, f64> {
    let inner =
        text.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(inner, _)| inner);
    let pairs = inner.split(",\n").flat_map(|line| line.split(", "));
    let pairs = pairs.filter_map(|pair| pair.trim().rsplit_once(": "));
    pairs
        .filter_map(|(name, number)| Some((name.trim_matches('\'').to_owned(), number.parse().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_node_prints_is_read() {
        let text =
            "{\n  'statsd.bad_lines_seen': 0,\n  'a;k=v': 9007199254740993,\n  plain: -1.5\n}\nEND\n\n";
        let numbers = numbers(text);
        assert_eq!(numbers.len(), 3);
        assert_eq!((numbers["plain"], numbers["statsd.bad_lines_seen"]), (-1.5, 0.0));
        assert!(super::numbers("{}\nEND\n\n").is_empty());
        assert_eq!(super::numbers("{ 'a.b': 1, c: 2 }\nEND\n\n")["c"], 2.0);
    }
}
