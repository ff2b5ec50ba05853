//! Where measurements go: a server, how a worker is told of it, and how it is asked for a total.

use std::path::{Path, PathBuf};

use zibrato_librato::endpoint::{Config, Endpoint};
use zibrato_trial::{Influx, Proxy, until};

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
    Some(vec![Box::new(Librato::new()), Box::new(InfluxDb::new()?), Box::new(Lines::new())])
}

fn secret(text: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    std::fs::write(&path, text).unwrap();
    (directory, path)
}

struct Librato {
    endpoint: Endpoint,
    proxy: Proxy,
    token: (tempfile::TempDir, PathBuf),
}

impl Librato {
    fn new() -> Librato {
        let endpoint = Endpoint::start(Config::default()).unwrap();
        let port = endpoint.url().rsplit_once(':').unwrap().1.trim_end_matches('/').parse().unwrap();
        Librato { endpoint, proxy: Proxy::start(port), token: secret("tok") }
    }
}

impl Place for Librato {
    fn name(&self) -> &'static str {
        "librato"
    }

    fn section(&self) -> String {
        format!(
            "url = \"http://127.0.0.1:{}\"\nusername = \"me@example.com\"\ntoken-file = {:?}\ntimeout = 2",
            self.proxy.port(),
            self.token.1
        )
    }

    fn proxy(&self) -> Option<&Proxy> {
        Some(&self.proxy)
    }

    fn total(&self, name: &str) -> Result<f64, String> {
        let total = self.endpoint.total(name, "everywhere").value.whole();
        total.map(|whole| whole as f64).ok_or_else(|| "it is not whole".into())
    }

    fn stop(&mut self) {
        self.proxy.refuse();
    }

    fn start(&mut self) {
        self.proxy.pass();
    }
}

struct InfluxDb {
    influx: Influx,
    proxy: Proxy,
    password: (tempfile::TempDir, PathBuf),
}

impl InfluxDb {
    fn new() -> Option<InfluxDb> {
        let influx = Influx::start()?;
        let proxy = Proxy::start(influx.port());
        Some(InfluxDb { influx, proxy, password: secret(Influx::PASSWORD) })
    }
}

impl Place for InfluxDb {
    fn name(&self) -> &'static str {
        "influx"
    }

    fn section(&self) -> String {
        format!(
            "url = \"http://127.0.0.1:{}\"\ndatabase = \"metrics\"\nusername = {:?}\npassword-file = {:?}\ntimeout = 2",
            self.proxy.port(),
            Influx::WRITER,
            self.password.1
        )
    }

    fn proxy(&self) -> Option<&Proxy> {
        Some(&self.proxy)
    }

    fn total(&self, name: &str) -> Result<f64, String> {
        let text = self.influx.query(&format!("SELECT sum(counter) FROM \"{name}\""))?;
        let answer: serde_json::Value = serde_json::from_str(&text).map_err(|why| why.to_string())?;
        let sum = &answer["results"][0]["series"][0]["values"][0][1];
        sum.as_f64().ok_or_else(|| format!("there is no sum in {text}"))
    }

    fn stop(&mut self) {
        self.influx.server.stop();
    }

    fn start(&mut self) {
        self.influx.server.start();
    }
}

/// Lines of JSON in a file, which is never away.
struct Lines {
    directory: tempfile::TempDir,
}

impl Lines {
    fn new() -> Lines {
        Lines { directory: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("lines")
    }
}

impl Place for Lines {
    fn name(&self) -> &'static str {
        "archive"
    }

    fn section(&self) -> String {
        format!("backend = \"json\"\nfile = {:?}", self.file())
    }

    fn proxy(&self) -> Option<&Proxy> {
        None
    }

    fn total(&self, name: &str) -> Result<f64, String> {
        let text = std::fs::read_to_string(self.file()).map_err(|why| why.to_string())?;
        // The last one may be being written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        Ok(lines.filter(|line| line["name"] == name).filter_map(|line| line["value"].as_f64()).sum())
    }

    fn stop(&mut self) {}

    fn start(&mut self) {}
}
