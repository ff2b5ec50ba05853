//! The original StatsD, over TCP.

use zibrato_trial::{Proxy, Statsd};

use super::Place;

/// A StatsD that does not reset what it has.
pub(crate) struct OriginalStatsd(Statsd);

impl OriginalStatsd {
    pub(crate) fn new() -> Option<OriginalStatsd> {
        Statsd::start().map(OriginalStatsd)
    }
}

impl Place for OriginalStatsd {
    fn name(&self) -> &'static str {
        "statsd"
    }

    fn section(&self) -> String {
        format!("address = \"tcp://127.0.0.1:{}\"", self.0.tcp)
    }

    fn proxy(&self) -> Option<&Proxy> {
        None
    }

    fn total(&self, name: &str) -> Result<f64, String> {
        let name = format!("everywhere.{name}");
        self.0.counters()?.get(&name).copied().ok_or_else(|| format!("there is no {name}"))
    }

    fn stop(&mut self) {
        self.0.server.stop();
    }

    fn start(&mut self) {
        self.0.server.start();
    }

    fn acknowledges(&self) -> bool {
        false
    }
}
