//! What is behind the workers: how each is told of it, what can be done to it, and what it says it has.

mod graphite;
mod influx;
mod librato;
mod lines;
mod prometheus;

use std::collections::BTreeMap;
use std::path::Path;

use zibrato_core::frame::Kind;

use crate::schedule::ServerFaults;
use crate::work::Figure;

pub use librato::Librato;

/// A series' figure under the name that the server has for it.
pub type Totals = BTreeMap<String, f64>;

/// A series as workers tell it, over all levels.
#[derive(Debug, Clone, Copy)]
pub struct Series<'a> {
    /// Its source.
    pub source: &'a str,
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: &'a str,
    /// Its only tag, if it has one.
    pub tag: Option<(&'a str, &'a str)>,
}

/// A server.
pub trait Server: Send {
    /// What it is called, in reports.
    fn name(&self) -> &'static str;

    /// The arguments of its worker, for a server at this port; the first is the subcommand.
    fn arguments(&self, port: u16) -> Vec<String>;

    /// The levels that its worker listens to.
    fn levels(&self) -> &'static str {
        "info,error,debug"
    }

    /// Its port, if it has one.
    fn port(&self) -> Option<u16>;

    /// What can be done to it.
    fn faults(&self) -> ServerFaults;

    /// What it calls a figure of a series.
    fn address(&self, series: Series<'_>, figure: Figure) -> String;

    /// What it calls the last value of a gauge; `None` where it is not asked for that.
    fn gauge(&self, series: Series<'_>) -> Option<String> {
        let _ = series;
        None
    }

    /// What it has of names that begin with `chaos.`: totals, and gauges that it is asked for.
    ///
    /// # Errors
    /// When it does not say.
    fn totals(&self) -> Result<Totals, String>;

    /// What it has found wrong with what it was sent.
    fn complaints(&self) -> Vec<String> {
        Vec::new()
    }

    /// Its process, if it is one.
    fn process(&mut self) -> Option<&mut zibrato_trial::Server> {
        None
    }

    /// Has it answer that it cannot, for so many requests.
    fn reject(&self, requests: usize) {
        let _ = requests;
    }
}

/// All of them, started; of one that is not installed it is said that it is left out.
///
/// # Panics
/// When one does not start, or is not installed where it must be.
pub fn all(directory: &Path) -> (Vec<Box<dyn Server>>, Vec<&'static str>) {
    let mut servers: Vec<Box<dyn Server>> =
        vec![Box::new(lines::Lines::new(directory)), Box::new(Librato::start())];
    let mut missing = Vec::new();
    match influx::InfluxDb::start() {
        Some(server) => servers.push(Box::new(server)),
        None => missing.push("InfluxDB"),
    }
    match prometheus::Written::start() {
        Some(server) => servers.push(Box::new(server)),
        None => missing.push("Prometheus"),
    }
    match graphite::Graphite::start() {
        Some(server) => servers.push(Box::new(server)),
        None => missing.push("carbon"),
    }
    (servers, missing)
}

/// A series and figure as one text, for servers that keep both apart.
fn plain(series: Series<'_>, figure: Figure) -> String {
    let Series { source, name, tag, .. } = series;
    let tag = tag.map(|(name, value)| format!("{{{name}={value}}}")).unwrap_or_default();
    format!("{source} {name}{tag} {}", figure_name(figure))
}

fn figure_name(figure: Figure) -> &'static str {
    match figure {
        Figure::Value => "value",
        Figure::Count => "count",
        Figure::Sum => "sum",
    }
}
