//! A Prometheus that is written to.

use zibrato_core::frame::Kind;
use zibrato_trial::prometheus::{Prometheus, PrometheusSetup, query};

use super::{Server, Totals};
use crate::schedule::ServerFaults;
use crate::servers::Series;
use crate::work::Figure;

/// The server, which has running totals.
pub(super) struct Written(Prometheus);

impl Written {
    pub(super) fn start() -> Option<Written> {
        PrometheusSetup::default().start().map(Written)
    }
}

impl Server for Written {
    fn name(&self) -> &'static str {
        "prometheus"
    }

    fn arguments(&self, port: u16) -> Vec<String> {
        let url = format!("http://127.0.0.1:{port}/api/v1/write");
        // Buckets are not what this is about.
        ["remote-write", "--url", &url, "--timeout", "3", "--histograms", "classic", "--timer-buckets", "1"]
            .into_iter()
            .chain(["--buckets", "100"])
            .map(String::from)
            .collect()
    }

    fn port(&self) -> Option<u16> {
        Some(self.0.port)
    }

    fn faults(&self) -> ServerFaults {
        ServerFaults::Dies
    }

    fn address(&self, series: Series<'_>, figure: Figure) -> String {
        let Series { source, kind, name, tag } = series;
        let unit = if kind == Kind::Timer { "_seconds" } else { "" };
        let suffix = match (kind, figure) {
            (Kind::Counter, _) => "_total",
            (_, Figure::Value) => "",
            (_, Figure::Count) => "_count",
            (_, Figure::Sum) => "_sum",
        };
        let tag = tag.map(|(name, value)| format!("{{{name}={value}}}")).unwrap_or_default();
        format!("{source} {}{unit}{suffix}{tag}", name.replace('.', "_"))
    }

    fn gauge(&self, series: Series<'_>) -> Option<String> {
        Some(self.address(series, Figure::Value))
    }

    fn totals(&self) -> Result<Totals, String> {
        let all = query(self.0.port, r#"last_over_time({__name__=~"chaos_.*",__name__!~".*_bucket"}[1d])"#)?;
        let totals = all.into_iter().map(|series| {
            let label = |name: &str| series.labels.get(name).map_or("", String::as_str);
            let own = |name: &&String| !["__name__", "source"].contains(&name.as_str());
            let tag = series.labels.keys().find(own).map(|name| format!("{{{name}={}}}", label(name)));
            (format!("{} {}{}", label("source"), label("__name__"), tag.unwrap_or_default()), series.value)
        });
        Ok(totals.collect())
    }

    fn process(&mut self) -> Option<&mut zibrato_trial::Server> {
        Some(&mut self.0.server)
    }
}
