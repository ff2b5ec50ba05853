use std::path::PathBuf;
use std::time::Duration;

use crate::keep::Limits;

/// How a broker is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address to listen on: an IP address or a host name; `127.0.0.1` by default.
    pub listen: String,
    /// The first of three ports: in, out, ask. With 0, any three that follow each other; 5550 by default.
    pub port: u16,
    /// The directory of the state file; `None` (the default) keeps everything in memory only.
    pub state: Option<PathBuf>,
    /// The first of the legacy gateway's two ports (in, out); 0 is any. `None` (the default) is no gateway.
    pub legacy_port: Option<u16>,
    /// How much is kept, and for how long.
    pub limits: Limits,
    /// How long to listen on the other ports before the in port is opened, so that subscribers are back
    /// before publishers are; 400 ms by default.
    pub head_start: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: "127.0.0.1".into(),
            port: 5550,
            state: None,
            legacy_port: None,
            limits: Limits::default(),
            head_start: Duration::from_millis(400),
        }
    }
}
