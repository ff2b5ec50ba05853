//! Where measurements go: a server, how a worker is told of it, and how it is asked for a total.

mod graphite;
mod influx;
mod librato;
mod lines;
mod otlp;
mod prometheus;
mod statsd;

use std::path::{Path, PathBuf};

use zibrato_trial::{Proxy, until};

/// A server with a worker for it.
pub(crate) trait Place {
    /// The worker's name.
    fn name(&self) -> &'static str;

    /// The worker's section, without its heading.
    fn section(&self) -> String;

    /// What is between the worker and the server.
    fn proxy(&self) -> Option<&Proxy>;

    /// The total of a counter, asked of the server.
    fn total(&self, name: &str) -> Result<f64, String>;

    /// Takes the server away, with what it has on its disk.
    fn stop(&mut self);

    /// Brings it back.
    fn start(&mut self);

    /// Makes the secret a wrong one, or right again, where there is one.
    fn secret(&self, right: bool) {
        let _ = right;
    }

    /// Whether it says what it has taken.
    fn acknowledges(&self) -> bool {
        true
    }

    /// Waits until its worker has its state directory, and so listens.
    fn until_listening(&self, directory: &Path) {
        let state = directory.join("state").join(self.name()).join("state.db");
        until(&format!("the worker {}", self.name()), || {
            if state.exists() { Ok(()) } else { Err("it has no state yet".into()) }
        });
    }
}

/// All of them; `None` where a server is not installed, and need not be.
pub(crate) fn all() -> Option<Vec<Box<dyn Place>>> {
    Some(vec![
        Box::new(librato::Librato::new()),
        Box::new(influx::InfluxDb::new()?),
        Box::new(lines::Lines::new()),
        Box::new(graphite::Graphite::new()?),
        Box::new(prometheus::Scraping::new()?),
        Box::new(prometheus::Written::new()?),
        Box::new(otlp::Collector::new()?),
        Box::new(statsd::OriginalStatsd::new()?),
    ])
}

/// A file that has only a secret.
struct Secret {
    text: &'static str,
    directory: tempfile::TempDir,
}

impl Secret {
    fn new(text: &'static str) -> Secret {
        let secret = Secret { text, directory: tempfile::tempdir().unwrap() };
        secret.set(true);
        secret
    }

    fn set(&self, right: bool) {
        std::fs::write(self.path(), if right { self.text } else { "not-the-secret" }).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("secret")
    }
}
