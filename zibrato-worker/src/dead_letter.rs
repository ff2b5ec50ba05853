//! Dead letters: measurements that the backend will never take, kept for people to look at.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use crate::aggregate::kind_of;
use crate::batch::{Measurement, Value};
use crate::error::Error;

/// The file's name in the state directory.
const FILE: &str = "dead-letters.jsonl";
/// Size at which the file becomes `dead-letters.jsonl.1`, in place of the one before.
const LARGEST: u64 = 64 << 20;

/// A measurement that was refused.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DeadLetter {
    pub(crate) measurement: Measurement,
    pub(crate) reason: String,
}

/// The file with one JSON object in each line.
#[derive(Debug)]
pub(crate) struct DeadLetters(PathBuf);

impl DeadLetters {
    pub(crate) fn new(directory: &Path) -> Self {
        DeadLetters(directory.join(FILE))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Appends letters of a batch's time (nanoseconds since 1970 UTC); they are on the disk when it returns.
    pub(crate) fn write(&self, time: u64, letters: &[DeadLetter]) -> Result<(), Error> {
        if letters.is_empty() {
            return Ok(());
        }
        if std::fs::metadata(&self.0).is_ok_and(|file| file.len() >= LARGEST) {
            let older = self.0.with_extension("jsonl.1");
            std::fs::rename(&self.0, &older).map_err(Error::file("rename", &self.0))?;
        }
        let lines: String = letters.iter().map(|letter| format!("{}\n", line(time, letter))).collect();
        let write = || {
            let mut file = File::options().read(true).append(true).create(true).open(&self.0)?;
            // A line that was broken off by a full disk or a crash must not spoil the next.
            let end = if ends_with_a_line(&mut file)? { "" } else { "\n" };
            file.write_all([end.as_bytes(), lines.as_bytes()].concat().as_slice())?;
            file.sync_data()
        };
        write().map_err(Error::file("write", &self.0))
    }
}

fn ends_with_a_line(file: &mut File) -> std::io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

fn line(time: u64, letter: &DeadLetter) -> Json {
    let Measurement { series, level, unit, value, .. } = &letter.measurement;
    let tags: serde_json::Map<String, Json> =
        series.tags.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let mut line = json!({
        "reason": letter.reason,
        "time": time as f64 / 1e9,
        "level": level,
        "kind": kind_of(value).name(),
        "name": series.name,
        "source": series.source,
        "tags": tags,
        "unit": unit,
    });
    let figures = match value {
        Value::Counter(total) | Value::Updown(total) => json!({ "value": total.value() }),
        Value::Gauge(gauge) => json!({ "value": gauge.last }),
        Value::Point { time, value } => json!({ "time": *time as f64 / 1e9, "value": value }),
        Value::Timer(_) | Value::Distribution(_) => json!({}),
    };
    let statistics = letter.measurement.statistics().map(|figures| {
        json!({ "count": figures.count, "sum": figures.sum, "min": figures.min, "max": figures.max })
    });
    for more in [Some(figures), statistics].into_iter().flatten() {
        if let (Json::Object(line), Json::Object(more)) = (&mut line, more) {
            line.extend(more);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use zibrato_core::frame::{Kind, Total};

    use super::*;
    use crate::batch::Series;

    #[test]
    fn a_letter_is_a_line_of_json() {
        let directory = tempfile::tempdir().unwrap();
        let letters = DeadLetters::new(directory.path());
        let letter = DeadLetter {
            measurement: Measurement {
                trace: Default::default(),
                series: Series {
                    name: "requests\n".into(),
                    source: "web".into(),
                    tags: vec![("method".into(), "GET".into())],
                    kind: Kind::Counter,
                },
                level: "info".into(),
                unit: None,
                help: None,
                since: 0,
                value: Value::Counter(Total::whole(5)),
            },
            reason: "no such name".into(),
        };
        letters.write(1_500_000_000, std::slice::from_ref(&letter)).unwrap();
        let whole = std::fs::read(letters.path()).unwrap();
        std::fs::write(letters.path(), [&whole[..], &whole[..20]].concat()).unwrap();
        letters.write(2_000_000_000, &[letter]).unwrap();
        let text = std::fs::read_to_string(letters.path()).unwrap();
        let text = text.replace(&format!("{}\n", std::str::from_utf8(&whole[..20]).unwrap()), "");
        let lines: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["reason"], "no such name");
        assert_eq!(lines[0]["value"], 5.0);
        assert_eq!(lines[0]["time"], 1.5);
        assert_eq!(lines[0]["tags"]["method"], "GET");
    }
}
