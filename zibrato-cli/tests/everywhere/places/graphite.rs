//! Graphite's carbon.

use zibrato_trial::{Carbon, Proxy};

use super::Place;

/// A carbon with steps of a second.
pub(crate) struct Graphite {
    carbon: Carbon,
    proxy: Proxy,
}

impl Graphite {
    pub(crate) fn new() -> Option<Graphite> {
        let schemas = "[zibrato]\npattern = .*\nretentions = 1s:1h\n";
        let carbon = Carbon::start(
            schemas,
            include_str!("../../../../zibrato-graphite/carbon/storage-aggregation.conf"),
        )?;
        let proxy = Proxy::start(carbon.tcp);
        Some(Graphite { carbon, proxy })
    }
}

impl Place for Graphite {
    fn name(&self) -> &'static str {
        "graphite"
    }

    fn section(&self) -> String {
        format!("address = \"tcp://127.0.0.1:{}\"\nstep = 1\ntimeout = 2", self.proxy.port())
    }

    fn proxy(&self) -> Option<&Proxy> {
        Some(&self.proxy)
    }

    fn total(&self, name: &str) -> Result<f64, String> {
        let series = format!("everywhere.{name}.count");
        let stored = self.carbon.stored()?;
        let stored = stored.iter().find(|stored| stored.series == series);
        stored.map(zibrato_trial::Stored::sum).ok_or_else(|| format!("there is no {series}"))
    }

    fn stop(&mut self) {
        self.carbon.server.stop();
    }

    fn start(&mut self) {
        self.carbon.server.start();
    }
}
