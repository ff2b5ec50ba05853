//! InfluxDB.

use serde_json::Value;
use zibrato_trial::Influx;

use super::{Server, Totals, plain};
use crate::schedule::ServerFaults;
use crate::servers::Series;
use crate::work::Figure;

/// The server; the password is in the environment of the worker.
pub(super) struct InfluxDb(Influx);

impl InfluxDb {
    pub(super) fn start() -> Option<InfluxDb> {
        Influx::start().map(InfluxDb)
    }
}

impl Server for InfluxDb {
    fn name(&self) -> &'static str {
        "influx"
    }

    fn arguments(&self, port: u16) -> Vec<String> {
        let url = format!("http://127.0.0.1:{port}");
        ["influx", "--url", &url, "--database", "metrics", "--username", Influx::WRITER, "--timeout", "3"]
            .map(String::from)
            .into()
    }

    fn port(&self) -> Option<u16> {
        Some(self.0.port())
    }

    fn faults(&self) -> ServerFaults {
        ServerFaults::Dies
    }

    fn address(&self, series: Series<'_>, figure: Figure) -> String {
        plain(series, figure)
    }

    fn totals(&self) -> Result<Totals, String> {
        let text = self.0.query("SELECT sum(*) FROM /^chaos\\./ GROUP BY *")?;
        let answer: Value = serde_json::from_str(&text).map_err(|why| format!("{why}: {text}"))?;
        let mut totals = Totals::new();
        for series in answer["results"][0]["series"].as_array().into_iter().flatten() {
            let name = series["name"].as_str().unwrap_or_default();
            let tags = series["tags"].as_object().into_iter().flatten();
            let (mut source, mut tag) = (String::new(), None);
            for (key, value) in tags {
                match (key.as_str(), value.as_str().unwrap_or_default()) {
                    ("source", value) => source = value.to_owned(),
                    (_, "") => {}
                    (key, value) => tag = Some((key, value)),
                }
            }
            let series_of = Series { source: &source, kind: zibrato_core::frame::Kind::Counter, name, tag };
            let columns = series["columns"].as_array().into_iter().flatten();
            let values = series["values"][0].as_array().into_iter().flatten();
            for (column, value) in columns.zip(values) {
                let figure = match column.as_str().unwrap_or_default() {
                    "sum_counter" | "sum_counter_float" | "sum_updown" | "sum_updown_float" => Figure::Value,
                    "sum_timer_count" | "sum_distribution_count" => Figure::Count,
                    "sum_timer_sum" | "sum_distribution_sum" => Figure::Sum,
                    _ => continue,
                };
                *totals.entry(plain(series_of, figure)).or_default() += value.as_f64().unwrap_or(0.0);
            }
        }
        Ok(totals)
    }

    fn process(&mut self) -> Option<&mut zibrato_trial::Server> {
        Some(&mut self.0.server)
    }
}
