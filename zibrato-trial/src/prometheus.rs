//! Prometheus, and asking it or whatever speaks its query language.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::http::{encoded, get};
use crate::{Server, free_port, installed};

/// What a Prometheus is started with.
#[derive(Debug, Clone, Default)]
pub struct PrometheusSetup {
    /// Ports of loopback whose `/metrics` are scraped every second. The first scrape is some 6 s after the start.
    pub targets: Vec<u16>,
    /// Whether it keeps native histograms, for which it scrapes protobuf.
    pub native_histograms: bool,
    /// Whether it takes samples that are up to 10 minutes older than others of their series.
    pub out_of_order: bool,
    /// User and password (`user` and `secret`) that it wants.
    pub password: bool,
}

/// A running Prometheus, which takes remote writes at `/api/v1/write`.
pub struct Prometheus {
    /// The server, to be stopped and started.
    pub server: Server,
    /// Where it listens.
    pub port: u16,
}

impl PrometheusSetup {
    /// Starts it; `None` where it is not installed.
    ///
    /// # Panics
    /// When it does not start, or is missing where servers are required.
    pub fn start(self) -> Option<Prometheus> {
        if !installed("prometheus", "apt-get install prometheus") {
            return None;
        }
        let port = free_port();
        let targets: Vec<String> = self.targets.iter().map(|port| format!("'127.0.0.1:{port}'")).collect();
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             storage: {{tsdb: {{out_of_order_time_window: {}}}}}\n\
             scrape_configs:\n\
             - job_name: zibrato\n  \
               static_configs: [{{targets: [{}]}}]\n",
            if self.out_of_order { "10m" } else { "0s" },
            targets.join(",")
        );
        let mut setup = Server::new("prometheus").file("prometheus.yml", &config).args([
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--web.enable-remote-write-receiver",
            "--log.level=warn",
            &format!("--web.listen-address=127.0.0.1:{port}"),
        ]);
        if self.native_histograms {
            setup = setup.arg("--enable-feature=native-histograms");
        }
        if self.password {
            // The bcrypt hash of "secret", at the lowest cost.
            let users =
                "basic_auth_users:\n  user: $2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n";
            setup = setup.file("web.yml", users).arg("--web.config.file=web.yml");
        }
        let ready = move || match crate::http::request(port, "GET", "/-/ready", &[], "")?.status {
            200 | 401 => Ok(()),
            status => Err(format!("answered {status}")),
        };
        Some(Prometheus { server: setup.ready(ready).start(), port })
    }
}

/// One series of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its labels, `__name__` among them where the query keeps it.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// Asks at `/api/v1/query` of a port for an instant vector.
///
/// # Errors
/// When there is no answer, or none of that kind.
pub fn query(port: u16, query: &str) -> Result<Vec<Series>, String> {
    query_with(port, "", query)
}

/// The same with more parameters, as in `time=5&`.
///
/// # Errors
/// As [`query`].
pub fn query_with(port: u16, parameters: &str, query: &str) -> Result<Vec<Series>, String> {
    let body = get(port, &format!("/api/v1/query?{parameters}query={}", encoded(query)))?;
    let answer: Value = serde_json::from_str(&body).map_err(|why| format!("{why}: {body}"))?;
    let result = answer.pointer("/data/result").and_then(Value::as_array);
    let result = result.ok_or_else(|| format!("answered no vector: {body}"))?;
    let series = result.iter().map(|one| {
        let labels = one.get("metric")?.as_object()?;
        let labels = labels.iter().map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        let value = one.pointer("/value/1")?.as_str()?.replace("+Inf", "inf").parse().ok()?;
        Some(Series { labels: labels.collect::<Option<_>>()?, value })
    });
    series.collect::<Option<_>>().ok_or_else(|| format!("answered no numbers: {body}"))
}

/// The value of the only series that a query finds.
///
/// # Errors
/// When there is none, or several.
pub fn value(port: u16, query: &str) -> Result<f64, String> {
    match &self::query(port, query)?[..] {
        [one] => Ok(one.value),
        other => Err(format!("{query} has {} series", other.len())),
    }
}
