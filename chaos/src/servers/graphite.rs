//! Graphite's carbon.

use zibrato_trial::Carbon;

use super::{Server, Totals};
use crate::schedule::ServerFaults;
use crate::servers::Series;
use crate::work::Figure;

/// A carbon with steps of a second.
pub(super) struct Graphite(Carbon);

impl Graphite {
    pub(super) fn start() -> Option<Graphite> {
        let aggregation = include_str!("../../../zibrato-graphite/carbon/storage-aggregation.conf");
        Carbon::start("[zibrato]\npattern = .*\nretentions = 1s:2h\n", aggregation).map(Graphite)
    }
}

impl Server for Graphite {
    fn name(&self) -> &'static str {
        "graphite"
    }

    fn arguments(&self, port: u16) -> Vec<String> {
        let address = format!("tcp://127.0.0.1:{port}");
        ["graphite", "--address", &address, "--step", "1", "--timeout", "3"].map(String::from).into()
    }

    /// It is slow, and its files are large.
    fn levels(&self) -> &'static str {
        "info,error"
    }

    fn port(&self) -> Option<u16> {
        Some(self.0.tcp)
    }

    /// What it has read is in its memory at first, and may be lost when it ends, in order or not.
    fn faults(&self) -> ServerFaults {
        ServerFaults::Stops
    }

    fn address(&self, series: Series<'_>, figure: Figure) -> String {
        let Series { source, name, tag, .. } = series;
        let tag = tag.map(|(name, value)| format!(".{name}_{value}")).unwrap_or_default();
        let figure = if figure == Figure::Sum { "sum" } else { "count" };
        format!("{source}.{name}{tag}.{figure}")
    }

    fn totals(&self) -> Result<Totals, String> {
        let all = self.0.stored()?.into_iter();
        // The others do not add up.
        let totals =
            all.filter(|stored| stored.series.ends_with(".count") || stored.series.ends_with(".sum"));
        Ok(totals.map(|stored| (stored.series.clone(), stored.sum())).collect())
    }

    fn process(&mut self) -> Option<&mut zibrato_trial::Server> {
        Some(&mut self.0.server)
    }
}
