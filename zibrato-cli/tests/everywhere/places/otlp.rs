//! An OpenTelemetry collector, and a receiver that it passes everything on to.

use zibrato_trial::Proxy;
use zibrato_trial::otlp::{Receiver, Rotel};

use super::Place;

/// Rotel.
pub(crate) struct Collector {
    receiver: Receiver,
    rotel: Rotel,
    proxy: Proxy,
}

impl Collector {
    pub(crate) fn new() -> Option<Collector> {
        let receiver = Receiver::start();
        let rotel = Rotel::start(&receiver)?;
        let proxy = Proxy::start(rotel.port);
        Some(Collector { receiver, rotel, proxy })
    }
}

impl Place for Collector {
    fn name(&self) -> &'static str {
        "otlp"
    }

    fn section(&self) -> String {
        format!("url = \"http://127.0.0.1:{}\"\ntimeout = 2", self.proxy.port())
    }

    fn proxy(&self) -> Option<&Proxy> {
        Some(&self.proxy)
    }

    fn total(&self, name: &str) -> Result<f64, String> {
        self.receiver.stored("everywhere", name, &[]).map(|stored| stored.number)
    }

    fn stop(&mut self) {
        self.rotel.server.stop();
    }

    fn start(&mut self) {
        self.rotel.server.start();
    }
}
