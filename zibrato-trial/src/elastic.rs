//! noida-db from PyPI, which answers as Elasticsearch 8 does; there is no package of the original.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::{Server, Setup, free_port, http, python};

/// A running server.
pub struct Elastic {
    /// The server itself, to be stopped and paused.
    pub server: Server,
    port: u16,
}

impl Elastic {
    /// Starts it; `None` where it is not installed.
    ///
    /// # Panics
    /// When it does not start, or is not there where it is [`required`](crate::required).
    pub fn start() -> Option<Elastic> {
        let python = python("noida_db")?;
        let find = "import noida_db, os; print(os.path.join(list(noida_db.__path__)[0], 'noida-db'))";
        let found = Command::new(python).args(["-c", find]).output().unwrap();
        let program = String::from_utf8(found.stdout).unwrap().trim().to_owned();
        let port = free_port();
        let server = setup(&program, port).start();
        Some(Elastic { server, port })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Asks it, with a body of JSON; what it says.
    ///
    /// # Errors
    /// What went wrong, also where the status is no 2xx.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Result<String, String> {
        // It does not close connections of itself, whatever the version of HTTP.
        let headers = [("content-type", "application/json"), ("connection", "close")];
        match http::request(self.port, method, path, &headers, body)? {
            http::Answer { status: 200..300, body, .. } => Ok(body),
            other => Err(format!("answered {}: {}", other.status, other.body)),
        }
    }
}

fn setup(program: &str, port: u16) -> Setup {
    let data = "data";
    // It is somebody else's binary, so it runs as nobody where it would be root.
    let is_root = rustix::process::geteuid().is_root();
    let setup = if is_root {
        Server::new("setpriv").args(["--reuid=65534", "--regid=65534", "--clear-groups", program])
    } else {
        Server::new(program)
    };
    let directory = setup.directory().to_owned();
    std::fs::create_dir_all(directory.join(data)).unwrap();
    for path in [directory.clone(), directory.join(data)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    setup
        .env("HOME", &directory)
        .args(["start", "--only", "elasticsearch", "--elasticsearch-port", &port.to_string(), "--data-dir"])
        .arg(directory.join(data))
        .ready_when_listening(port)
}
