//! rsyslog, on TCP, UDP and a Unix socket, writing to one file.

use std::path::PathBuf;

use crate::{Server, Setup, free_port, installed};

/// What a line of [`Rsyslog::lines`] has: priority, time, host, program, process, message id and message.
const TEMPLATE: &str = "%pri%|%timereported:::date-rfc3339%|%hostname%|%app-name%|%procid%|%msgid%|%msg%";

/// A running rsyslogd.
pub struct Rsyslog {
    /// The server itself, to be stopped and paused.
    pub server: Server,
    port: u16,
}

impl Rsyslog {
    /// Starts it; `None` where it is not installed.
    ///
    /// # Panics
    /// When it does not start, or is not there where it is [`required`](crate::required).
    pub fn start() -> Option<Rsyslog> {
        if !installed("rsyslogd", "apt-get install rsyslog") {
            return None;
        }
        let port = free_port();
        Some(Rsyslog { server: setup(port).start(), port })
    }

    /// Where it listens, on TCP and UDP.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.server.directory().join("log")
    }

    /// What it has written: of each message priority, time, host, program, process, message id and message, with a bar
    /// between.
    pub fn lines(&self) -> Vec<String> {
        let text = std::fs::read(self.server.directory().join("out")).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }
}

fn setup(port: u16) -> Setup {
    let setup = Server::new("rsyslogd");
    let directory = setup.directory().display().to_string();
    let configuration = format!(
        "global(workDirectory=\"{directory}\" maxMessageSize=\"64k\")
module(load=\"imtcp\")
module(load=\"imudp\")
module(load=\"imuxsock\" SysSock.Use=\"off\")
input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")
input(type=\"imudp\" address=\"127.0.0.1\" port=\"{port}\")
input(type=\"imuxsock\" Socket=\"{directory}/log\" UseSpecialParser=\"off\" ParseHostname=\"on\"
      RateLimit.Interval=\"0\" IgnoreTimestamp=\"off\")
template(name=\"all\" type=\"string\" string=\"{TEMPLATE}\\n\")
action(type=\"omfile\" file=\"{directory}/out\" template=\"all\")
"
    );
    let pid = format!("{directory}/pid");
    setup
        .file("rsyslog.conf", &configuration)
        .args(["-n", "-f", "rsyslog.conf", "-i", &pid])
        .ready_when_listening(port)
}
