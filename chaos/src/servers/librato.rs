//! Librato's end, which is Zibrato's own.

use zibrato_librato::endpoint::{Config, Decimal, Endpoint, Step};

use super::{Server, Totals};
use crate::schedule::ServerFaults;
use crate::servers::Series;
use crate::work::{Figure, GAUGE};

/// It lives in this process, since it has all in memory.
pub struct Librato(Endpoint);

impl Librato {
    /// Starts it.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start() -> Librato {
        Librato(Endpoint::start(Config::default()).expect("nothing listens where it will"))
    }
}

impl Server for Librato {
    fn name(&self) -> &'static str {
        "librato"
    }

    fn arguments(&self, port: u16) -> Vec<String> {
        let url = format!("http://127.0.0.1:{port}");
        ["librato", "--url", &url, "--username", "me@example.com", "--timeout", "3"].map(String::from).into()
    }

    fn levels(&self) -> &'static str {
        "*,!zibrato"
    }

    fn port(&self) -> Option<u16> {
        Some(self.0.address().port())
    }

    fn faults(&self) -> ServerFaults {
        ServerFaults::Misbehaves
    }

    fn address(&self, series: Series<'_>, figure: Figure) -> String {
        let Series { source, name, tag, .. } = series;
        let tag = tag.map(|(name, value)| format!(":{name}-{value}")).unwrap_or_default();
        format!("{source}{tag} {name} {}", super::figure_name(figure))
    }

    fn gauge(&self, series: Series<'_>) -> Option<String> {
        Some(format!("{} {} last", series.source, series.name))
    }

    fn totals(&self) -> Result<Totals, String> {
        let mut totals = Totals::new();
        // Numbers are exact in decimals, and what is measured is in steps of at least a thousandth.
        let number =
            |decimal: Decimal| decimal.billionths().map_or(f64::NAN, |billionths| billionths as f64 / 1e9);
        // By rising time.
        for stored in self.0.stored().into_iter().filter(|stored| stored.name == GAUGE) {
            totals.insert(format!("{} {} last", stored.source, stored.name), number(stored.sum));
        }
        for ((name, source), total) in self.0.totals().into_iter().filter(|((name, _), _)| name != GAUGE) {
            let at = |figure| format!("{source} {name} {}", super::figure_name(figure));
            totals.insert(at(Figure::Value), number(total.value));
            totals.insert(at(Figure::Count), total.count as f64);
            totals.insert(at(Figure::Sum), number(total.sum));
        }
        Ok(totals)
    }

    fn complaints(&self) -> Vec<String> {
        self.0.violations()
    }

    fn reject(&self, requests: usize) {
        let steps = [Step::Status(503), Step::LoseAnswer, Step::RetryAfter(429, 1), Step::Close];
        self.0.script(steps.into_iter().cycle().take(requests));
    }
}
