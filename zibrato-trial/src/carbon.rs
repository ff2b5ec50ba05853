//! Graphite's carbon, from Debian.

use std::process::Command;

use crate::installed::installed;
use crate::ports::free_port;
use crate::server::Server;

/// A carbon that stores what it takes in files of whisper.
pub struct Carbon {
    /// The program.
    pub server: Server,
    /// Its port for lines over TCP.
    pub tcp: u16,
    /// Its port for lines in datagrams, the same.
    pub udp: u16,
}

/// What a file of whisper has.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// The series, with its tags as in `requests;source=web1`.
    pub series: String,
    /// How datapoints become one where the retention is coarser, as in `sum`.
    pub aggregation: String,
    /// Time in seconds and value of each datapoint, from the oldest on.
    pub points: Vec<(u64, f64)>,
}

impl Stored {
    /// The sum of all values.
    pub fn sum(&self) -> f64 {
        self.points.iter().map(|(_, value)| value).sum()
    }
}

/// Prints series, aggregation and datapoints of all files below the current directory.
const READ: &str = r"
import os, time, whisper
for folder, _, files in os.walk('whisper'):
    for file in files:
        path = os.path.join(folder, file)
        info = whisper.info(path)
        if not info:
            continue
        name = path[len('whisper/'):-len('.wsp')]
        if name.startswith('_tagged/'):
            name = name.split('/', 3)[3].replace('_DOT_', '.')
        else:
            name = name.replace('/', '.')
        now = int(time.time())
        (begin, _, step), values = whisper.fetch(path, now - info['archives'][0]['retention'] + 1, now + 60, now + 60)
        points = [(begin + i * step, v) for i, v in enumerate(values) if v is not None]
        print(name, info['aggregationMethod'], *('%d=%r' % point for point in points))
";

impl Carbon {
    /// Starts it with a `storage-schemas.conf` and a `storage-aggregation.conf`; `None` where it is not installed.
    ///
    /// # Panics
    /// As [`installed`] and [`Server::start`].
    pub fn start(schemas: &str, aggregation: &str) -> Option<Carbon> {
        if !installed("carbon-cache", "apt-get install graphite-carbon") {
            return None;
        }
        let (port, pickle, query) = (free_port(), free_port(), free_port());
        let setup = Server::new("carbon-cache");
        let directory = setup.directory().display().to_string();
        let config = format!(
            "[cache]
STORAGE_DIR = {directory}
LOCAL_DATA_DIR = {directory}/whisper
CONF_DIR = {directory}
LOG_DIR = {directory}/log
PID_DIR = {directory}
USER =
MAX_CACHE_SIZE = inf
MAX_UPDATES_PER_SECOND = inf
MAX_CREATES_PER_MINUTE = inf
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {port}
ENABLE_UDP_LISTENER = True
UDP_RECEIVER_INTERFACE = 127.0.0.1
UDP_RECEIVER_PORT = {port}
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = {pickle}
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = {query}
CARBON_METRIC_INTERVAL = 0
ENABLE_TAGS = False
TAG_HASH_FILENAMES = False
"
        );
        let server = setup
            .debian_python()
            .file("carbon.conf", &config)
            .file("storage-schemas.conf", schemas)
            .file("storage-aggregation.conf", aggregation)
            .file("log/.keep", "")
            .args([&format!("--config={directory}/carbon.conf"), "--nodaemon"])
            .args([&format!("--pidfile={directory}/carbon.pid"), "start"])
            .ready_when_listening(port)
            .start();
        Some(Carbon { server, tcp: port, udp: port })
    }

    /// Everything that it has stored, as whisper itself reads it.
    ///
    /// # Errors
    /// When Debian's Python cannot read it, also because a file is just being made.
    pub fn stored(&self) -> Result<Vec<Stored>, String> {
        let output = Command::new("/usr/bin/python3")
            .args(["-c", READ])
            .current_dir(self.server.directory())
            .output()
            .map_err(|why| format!("python3: {why}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let stored = text.lines().filter_map(|line| {
            let mut words = line.split(' ');
            let (series, aggregation) = (words.next()?.to_owned(), words.next()?.to_owned());
            let points = words.filter_map(|word| {
                let (time, value) = word.split_once('=')?;
                Some((time.parse().ok()?, value.parse().ok()?))
            });
            Some(Stored { series, aggregation, points: points.collect() })
        });
        Ok(stored.collect())
    }
}
