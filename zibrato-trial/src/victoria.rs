//! VictoriaMetrics.

use crate::{Server, free_port, http, installed};

/// A running VictoriaMetrics, which keeps one sample of a series and millisecond.
pub struct Victoria {
    /// The server itself, to be stopped and paused.
    pub server: Server,
    port: u16,
}

impl Victoria {
    /// Starts it; `None` where it is not installed.
    ///
    /// # Panics
    /// When it does not start, or is not there where it is [`required`](crate::required).
    pub fn start() -> Option<Victoria> {
        Victoria::scraping(&[])
    }

    /// Starts it, to scrape `/metrics` at these ports of loopback every second.
    ///
    /// # Panics
    /// As [`start`](Victoria::start).
    pub fn scraping(targets: &[u16]) -> Option<Victoria> {
        Victoria::start_with(targets, &[])
    }

    /// Starts it with more flags, as in `-maxInsertRequestSize=4096`.
    ///
    /// # Panics
    /// As [`start`](Victoria::start).
    pub fn start_with(targets: &[u16], flags: &[&str]) -> Option<Victoria> {
        if !installed("victoria-metrics", "apt-get install victoria-metrics") {
            return None;
        }
        let port = free_port();
        let targets: Vec<String> = targets.iter().map(|port| format!("'127.0.0.1:{port}'")).collect();
        let scrapes = format!(
            "scrape_configs:\n\
             - job_name: zibrato\n  \
               scrape_interval: 1s\n  \
               static_configs: [{{targets: [{}]}}]\n",
            targets.join(",")
        );
        let server = Server::new("victoria-metrics")
            .file("scrapes.yml", &scrapes)
            .args(["-promscrape.config=scrapes.yml"])
            .args(flags)
            .arg("-storageDataPath=data")
            .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
            .args(["-retentionPeriod=100y", "-search.latencyOffset=0s", "-search.disableCache"])
            .args(["-dedup.minScrapeInterval=1ms", "-loggerLevel=WARN"])
            .ready(move || http::get(port, "/health").map(drop))
            .start();
        Some(Victoria { server, port })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes what was written just now visible to queries.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn flush(&self) -> Result<(), String> {
        http::get(self.port, "/internal/force_flush").map(drop)
    }

    /// All samples of a series selector, as one line of JSON for each series: `metric` with its labels, `values`, and
    /// `timestamps` in milliseconds.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn export(&self, selector: &str) -> Result<String, String> {
        // What was written just now is not yet to be seen else.
        http::get(self.port, "/internal/force_flush")?;
        http::get(self.port, &format!("/api/v1/export?match[]={}", http::encoded(selector)))
    }

    /// The answer to a MetricsQL query as JSON.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn query(&self, query: &str) -> Result<String, String> {
        http::get(self.port, "/internal/force_flush")?;
        http::get(self.port, &format!("/api/v1/query?query={}", http::encoded(query)))
    }
}
