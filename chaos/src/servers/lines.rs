//! A file of lines of JSON.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Server, Totals, plain};
use crate::schedule::ServerFaults;
use crate::servers::Series;
use crate::work::Figure;

/// The file, which is never away.
pub(super) struct Lines(PathBuf);

impl Lines {
    pub(super) fn new(directory: &Path) -> Lines {
        Lines(directory.join("lines.json"))
    }
}

impl Server for Lines {
    fn name(&self) -> &'static str {
        "json"
    }

    fn arguments(&self, _: u16) -> Vec<String> {
        vec!["json".into(), "--file".into(), self.0.display().to_string()]
    }

    fn levels(&self) -> &'static str {
        "*,!zibrato"
    }

    fn port(&self) -> Option<u16> {
        None
    }

    fn faults(&self) -> ServerFaults {
        ServerFaults::None
    }

    fn address(&self, series: Series<'_>, figure: Figure) -> String {
        plain(series, figure)
    }

    fn totals(&self) -> Result<Totals, String> {
        let text = std::fs::read_to_string(&self.0).map_err(|why| format!("{}: {why}", self.0.display()))?;
        // The last one may be being written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut totals = Totals::new();
        for line in whole.lines() {
            let line: Value = serde_json::from_str(line).map_err(|why| format!("{why}: {line}"))?;
            let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
            let tags = line["tags"].as_object().cloned().unwrap_or_default();
            let tag =
                tags.iter().next().map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()));
            let (source, name) = (text("source"), text("name"));
            let series =
                Series { source: &source, kind: zibrato_core::frame::Kind::Counter, name: &name, tag };
            let figures = match line["kind"].as_str() {
                Some("counter" | "updown") => vec![(Figure::Value, "value")],
                Some("timer" | "distribution") => vec![(Figure::Count, "count"), (Figure::Sum, "sum")],
                _ => continue,
            };
            for (figure, key) in figures {
                *totals.entry(plain(series, figure)).or_default() += line[key].as_f64().unwrap_or(f64::NAN);
            }
        }
        Ok(totals)
    }
}
