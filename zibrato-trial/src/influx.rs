//! InfluxDB 1, with authentication on.

use crate::{Server, Setup, free_port, http, installed, until};

/// The administrator, who may do everything.
const ADMIN: (&str, &str) = ("admin", "secret");

/// A running influxd with the database `metrics` and a user who may only write to it.
pub struct Influx {
    /// The server itself, to be stopped and paused.
    pub server: Server,
    port: u16,
}

impl Influx {
    /// The user who may write to `metrics`.
    pub const WRITER: &str = "writer";
    /// The writer's password.
    pub const PASSWORD: &str = "wr1ter-pa55word";

    /// Starts it; `None` where it is not installed.
    ///
    /// # Panics
    /// When it does not start, or is not there where it is [`required`](crate::required).
    pub fn start() -> Option<Influx> {
        Influx::start_with("", "")
    }

    /// The same with more lines in the sections `[http]` and `[data]` of its configuration.
    ///
    /// # Panics
    /// As [`start`](Influx::start).
    pub fn start_with(http: &str, data: &str) -> Option<Influx> {
        if !installed("influxd", "apt-get install influxdb") {
            return None;
        }
        let port = free_port();
        let server = setup(port, http, data).start();
        let influx = Influx { server, port };
        let (admin, secret) = ADMIN;
        let create = format!("CREATE USER {admin} WITH PASSWORD '{secret}' WITH ALL PRIVILEGES");
        until("influxd has an administrator", || {
            http::post(port, &format!("/query?q={}", http::encoded(&create)), &[], "")
        });
        influx.manage("CREATE DATABASE metrics");
        influx.manage(&format!("CREATE USER {} WITH PASSWORD '{}'", Influx::WRITER, Influx::PASSWORD));
        influx.manage(&format!("GRANT WRITE ON metrics TO {}", Influx::WRITER));
        Some(influx)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs a statement that changes something.
    ///
    /// # Panics
    /// When it is refused.
    pub fn manage(&self, statement: &str) {
        let answer = http::post(self.port, &path("", statement), &[], "").unwrap();
        assert!(!answer.contains("error"), "{statement}: {answer}");
    }

    /// The answer to a query in `metrics` as JSON, times in nanoseconds.
    ///
    /// # Errors
    /// When there is none, or it is an error.
    pub fn query(&self, query: &str) -> Result<String, String> {
        http::get(self.port, &path("metrics", query))
    }
}

fn path(database: &str, query: &str) -> String {
    let (admin, secret) = ADMIN;
    format!("/query?u={admin}&p={secret}&db={database}&epoch=ns&q={}", http::encoded(query))
}

fn setup(port: u16, http: &str, data: &str) -> Setup {
    let setup = Server::new("influxd");
    let directory = setup.directory().to_str().unwrap().to_owned();
    let rpc = free_port();
    let config = format!(
        r#"reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{directory}/meta"
[data]
  dir = "{directory}/data"
  wal-dir = "{directory}/wal"
  {data}
[http]
  bind-address = "127.0.0.1:{port}"
  auth-enabled = true
  log-enabled = false
  {http}
[monitor]
  store-enabled = false
"#
    );
    setup
        .file("influxdb.conf", &config)
        .args(["run", "-config", "influxdb.conf"])
        .ready(move || http::get(port, "/ping").map(drop))
}
