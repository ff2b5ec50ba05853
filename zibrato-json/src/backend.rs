//! The backend: batches in, lines out.

use std::io::{self, Write as _};

use zibrato_http::{Client, Error, SecretPlace};
use zibrato_worker::{Accepted, Backend, BackendError, Batch, LineFile};

use crate::Options;
use crate::line::line;
use crate::post::Endpoint;

/// Writes lines of JSON.
#[derive(Debug)]
pub struct Json(Destination);

#[derive(Debug)]
enum Destination {
    StandardOutput,
    File(LineFile),
    Endpoint(Endpoint),
}

impl Json {
    /// A backend that writes to where the options say.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new(options: Options) -> Result<Json, Error> {
        let Options { file, rotate_bytes, rotate_keep, url, token_file, gzip, timeout, way } = options;
        Ok(Json(match (file, url) {
            (Some(path), _) => Destination::File(LineFile { path, most: rotate_bytes, keep: rotate_keep }),
            (None, Some(url)) => Destination::Endpoint(Endpoint {
                client: Client::new(&url, &way, timeout)?,
                url,
                token: SecretPlace { what: "token", file: token_file, variable: "JSON_TOKEN" },
                gzip,
            }),
            (None, None) => Destination::StandardOutput,
        }))
    }
}

impl Backend for Json {
    const NAME: &'static str = "json";

    fn batch_size(&self) -> usize {
        1000
    }

    async fn send(&mut self, batch: &Batch) -> Result<Accepted, BackendError> {
        let written = match &self.0 {
            Destination::Endpoint(endpoint) => {
                let lines: Vec<String> = batch.measurements.iter().map(|m| line(batch, m)).collect();
                return endpoint.post(&lines).await;
            }
            Destination::StandardOutput => {
                let text = self.render(batch);
                let write = move || {
                    let mut out = io::stdout().lock();
                    out.write_all(text.as_bytes()).and_then(|()| out.flush())
                };
                // Whoever reads it may take its time, which must not hold up other workers.
                let written = tokio::task::spawn_blocking(write).await;
                written
                    .unwrap_or_else(|why| Err(io::Error::other(why)))
                    .map_err(|why| format!("standard output cannot be written: {why}"))
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
        written.map(|()| Accepted::All).map_err(|why| BackendError::Retry { why, after: None })
    }

    fn render(&self, batch: &Batch) -> String {
        batch.measurements.iter().map(|m| line(batch, m)).collect()
    }
}
