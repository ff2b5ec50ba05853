//! Prometheus, once scraping and once written to.

use zibrato_trial::prometheus::{Prometheus, PrometheusSetup, value};
use zibrato_trial::{Proxy, free_port};

use super::Place;

/// A Prometheus that scrapes the worker.
pub(crate) struct Scraping {
    prometheus: Prometheus,
    worker: u16,
}

impl Scraping {
    pub(crate) fn new() -> Option<Scraping> {
        let worker = free_port();
        let setup = PrometheusSetup { targets: vec![worker], ..PrometheusSetup::default() };
        Some(Scraping { prometheus: setup.start()?, worker })
    }
}

impl Place for Scraping {
    fn name(&self) -> &'static str {
        "prometheus"
    }

    fn section(&self) -> String {
        format!("listen = \"127.0.0.1:{}\"", self.worker)
    }

    /// It is Prometheus that connects.
    fn proxy(&self) -> Option<&Proxy> {
        None
    }

    fn total(&self, name: &str) -> Result<f64, String> {
        value(self.prometheus.port, &format!("{}_total", name.replace('.', "_")))
    }

    fn stop(&mut self) {
        self.prometheus.server.stop();
    }

    fn start(&mut self) {
        self.prometheus.server.start();
    }
}

/// A Prometheus that the worker writes to.
pub(crate) struct Written {
    prometheus: Prometheus,
    proxy: Proxy,
}

impl Written {
    pub(crate) fn new() -> Option<Written> {
        let prometheus = PrometheusSetup::default().start()?;
        let proxy = Proxy::start(prometheus.port);
        Some(Written { prometheus, proxy })
    }
}

impl Place for Written {
    fn name(&self) -> &'static str {
        "remote-write"
    }

    fn section(&self) -> String {
        format!("url = \"http://127.0.0.1:{}/api/v1/write\"\ntimeout = 2", self.proxy.port())
    }

    fn proxy(&self) -> Option<&Proxy> {
        Some(&self.proxy)
    }

    fn total(&self, name: &str) -> Result<f64, String> {
        value(self.prometheus.port, &format!("{}_total", name.replace('.', "_")))
    }

    fn stop(&mut self) {
        self.prometheus.server.stop();
    }

    fn start(&mut self) {
        self.prometheus.server.start();
    }
}
