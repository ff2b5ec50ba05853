//! The backend: batches in, lines out.

use std::io::{self, Write as _};
use std::time::Duration;

use zibrato_http::{Client, Error, SecretPlace};
use zibrato_worker::{Accepted, Backend, BackendError, Batch, LineFile, Measurement, Trace};

use crate::bulk::Bulk;
use crate::options::Inner;
use crate::syslog::Syslog;
use crate::{Format, Line};

/// Writes down what every hop tells of traced metrics.
#[derive(Debug)]
pub struct Mtrace {
    format: Format,
    destination: Destination,
    /// The batch that may have been written before.
    in_doubt: Option<u64>,
}

#[derive(Debug)]
enum Destination {
    StandardOutput,
    File(LineFile),
    Syslog(Syslog),
    Bulk(Box<Bulk>),
}

impl Mtrace {
    pub(crate) fn new(options: Inner) -> Result<Mtrace, Error> {
        let Inner { format, file, rotate_bytes, rotate_keep, syslog, timeout, .. } = options;
        let destination = if let Some(path) = file {
            Destination::File(LineFile { path, most: rotate_bytes, keep: rotate_keep })
        } else if let Some(target) = syslog {
            Destination::Syslog(Syslog::new(target))
        } else if let Some(url) = options.bulk_url {
            let secret = |what, file, variable| SecretPlace { what, file, variable };
            Destination::Bulk(Box::new(Bulk {
                client: Client::new(&url, &options.way, timeout)?,
                url,
                index: options.bulk_index,
                user: options.bulk_user,
                password: secret("password", options.bulk_password_file, "MTRACE_BULK_PASSWORD"),
                api_key: secret("API key", options.bulk_api_key_file, "MTRACE_BULK_API_KEY"),
                gzip: options.gzip,
            }))
        } else {
            Destination::StandardOutput
        };
        Ok(Mtrace { format, destination, in_doubt: None })
    }

    /// The line of a measurement, if it is an event; the indices of others are passed over.
    fn line(&self, batch: &Batch, measurement: &Measurement) -> Option<Line> {
        let Trace::Event(event) = &measurement.trace else { return None };
        // A file is compared to what it has, and documents have ids: there nothing comes twice.
        let can_repeat = matches!(self.destination, Destination::StandardOutput | Destination::Syslog(_));
        Some(Line { repeat: can_repeat && self.in_doubt == Some(batch.id), ..Line::of(event) })
    }

    /// Each event of a batch with its number in there.
    fn lines<'a>(&'a self, batch: &'a Batch) -> impl Iterator<Item = (usize, Line)> + 'a {
        let all = batch.measurements.iter().enumerate();
        all.filter_map(|(index, measurement)| Some((index, self.line(batch, measurement)?)))
    }
}

impl Backend for Mtrace {
    const NAME: &'static str = "mtrace";

    fn resolution(&self) -> Duration {
        // Every event has a time of its own.
        Duration::from_millis(1)
    }

    fn batch_size(&self) -> usize {
        500
    }

    fn in_doubt(&mut self, batch: &Batch) {
        self.in_doubt = Some(batch.id);
    }

    async fn send(&mut self, batch: &Batch) -> Result<Accepted, BackendError> {
        let written = match &self.destination {
            Destination::Bulk(bulk) => {
                let (indices, lines): (Vec<usize>, Vec<String>) =
                    self.lines(batch).map(|(index, line)| (index, bulk.lines(&line))).unzip();
                return bulk.post(&lines).await.map(|accepted| numbered(accepted, &indices));
            }
            Destination::Syslog(syslog) => {
                let messages: Vec<String> = self
                    .lines(batch)
                    .map(|(_, line)| syslog.message(&line, &line.written(self.format)))
                    .collect();
                syslog.send(&messages).await
            }
            Destination::StandardOutput => {
                let mut out = io::stdout().lock();
                let written = out.write_all(self.render(batch).as_bytes()).and_then(|()| out.flush());
                written.map_err(|why| format!("standard output cannot be written: {why}"))
            }
            Destination::File(file) => {
                let (file, text) = (file.clone(), self.render(batch));
                let path = file.path.clone();
                // What waits for a disk must not hold up other workers.
                let written = tokio::task::spawn_blocking(move || file.append(&text)).await;
                written
                    .unwrap_or_else(|why| Err(io::Error::other(why)))
                    .map_err(|why| format!("{} cannot be written: {why}", path.display()))
            }
        };
        if written.is_err() {
            // A part may have been written.
            self.in_doubt = Some(batch.id);
        }
        written.map(|()| Accepted::All).map_err(|why| BackendError::Retry { why, after: None })
    }

    fn render(&self, batch: &Batch) -> String {
        let lines = self.lines(batch).map(|(_, line)| match &self.destination {
            Destination::Bulk(bulk) => bulk.lines(&line),
            Destination::Syslog(syslog) => syslog.message(&line, &line.written(self.format)) + "\n",
            Destination::File(_) | Destination::StandardOutput => line.written(self.format) + "\n",
        });
        lines.collect()
    }
}

/// What was said of lines, said of the measurements that they are of.
fn numbered(accepted: Accepted, indices: &[usize]) -> Accepted {
    let index = |line: usize| indices.get(line).copied().unwrap_or(line);
    match accepted {
        Accepted::All => Accepted::All,
        Accepted::Partly { refused, retry } => Accepted::Partly {
            refused: refused.into_iter().map(|(line, why)| (index(line), why)).collect(),
            retry: retry.into_iter().map(index).collect(),
        },
    }
}
