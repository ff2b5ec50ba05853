//! The backend: batches in, requests out.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use prost::Message as _;
use zibrato_http::{Client, HeaderMap, Request, Secret, Submission, Url, secret_headers};
use zibrato_worker::{
    Accepted, Backend, BackendError, BackendOptions, Batch, OpenError, Series, Temporality,
};

use crate::Error;
use crate::metric::Style;
use crate::options::{Compression, HEADERS, Options};
use crate::request::request;
use crate::resource::Resources;
use crate::text::text;
use crate::verdict::{Verdict, judge};

/// Most measurements of one request; receivers take 4 MiB or more.
const MOST_POINTS: usize = 1000;
const PATH: &str = "/v1/metrics";

/// Sends OTLP over HTTP.
#[derive(Debug)]
pub struct Otlp {
    options: Options,
    url: Url,
    resources: Resources,
    client: Option<Client>,
    headers: HeaderMap,
    secrets: Vec<Secret>,
    /// When it was made, in nanoseconds since 1970 UTC.
    began: u64,
    /// Data points that a receiver rejected without saying which.
    rejected: u64,
    /// Measurements that a receiver may have twice.
    doubted: u64,
    /// What receivers have warned of, to be said once.
    warned: BTreeSet<String>,
}

impl Otlp {
    /// A backend that sends what these options say. Tags of the name `instance_tag` (`--instance-tag`) become resource
    /// attributes `service.instance.id`.
    ///
    /// # Errors
    /// When headers with secrets cannot be read.
    pub fn new(options: Options, instance_tag: Option<&str>) -> Result<Otlp, Error> {
        let mut this = Otlp::idle(options, instance_tag);
        this.log_in()?;
        Ok(this)
    }

    /// A backend that has not looked for secrets yet, for `--dry-run`.
    pub fn idle(options: Options, instance_tag: Option<&str>) -> Otlp {
        let given = options.url.url();
        let url = if given.path().ends_with(PATH) { given.clone() } else { options.url.join(PATH) };
        Otlp {
            resources: Resources::new(&options, instance_tag),
            options,
            url,
            client: None,
            headers: HeaderMap::new(),
            secrets: Vec::new(),
            began: UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64),
            rejected: 0,
            doubted: 0,
            warned: BTreeSet::new(),
        }
    }

    /// Reads the secrets, again after every failure: they may have been changed.
    fn log_in(&mut self) -> Result<(), Error> {
        let mut headers = HeaderMap::new();
        for header in &self.options.header {
            headers.append(header.name.clone(), header.value.clone());
        }
        let (from, secret) = match &self.options.headers_file {
            Some(file) => {
                let bad = |why: std::io::Error| Error::Headers { from: file.clone(), why: why.to_string() };
                (file.clone(), std::fs::read_to_string(file).map_err(bad)?)
            }
            None => (PathBuf::from(HEADERS), std::env::var(HEADERS).unwrap_or_default()),
        };
        let secret = secret_headers(&secret).map_err(|why| Error::Headers { from, why })?;
        let text =
            |value: &zibrato_http::HeaderValue| value.to_str().map(|text| Secret::new("header", text)).ok();
        self.secrets = secret.values().filter_map(text).collect();
        headers.extend(secret);
        self.headers = headers;
        if self.client.is_none() {
            self.client = Some(Client::new(&self.options.url, &self.options.way, self.options.timeout)?);
        }
        Ok(())
    }

    fn style(&self) -> Style {
        Style {
            temporality: self.options.temporality.into(),
            timer_unit: self.options.timer_unit,
            began: self.began,
        }
    }

    /// A text without the secrets that may be in it.
    fn hide(&self, text: String) -> String {
        self.secrets.iter().fold(text, |text, secret| secret.hide_in(&text))
    }

    async fn post(&self, body: Vec<u8>) -> (Verdict, Option<Duration>) {
        let Some(client) = &self.client else { return (Verdict::Later("not logged in yet".into()), None) };
        let request = Request::new(self.url.clone(), "application/x-protobuf", body)
            .headers(&self.headers)
            .gzip(self.options.compression == Compression::Gzip);
        match client.post(request).await {
            Ok(answer) => {
                let verdict = match judge(&answer) {
                    Verdict::Later(why) => Verdict::Later(self.hide(format!("{} {why}", self.url))),
                    Verdict::Wrong(why) => Verdict::Wrong(self.hide(why)),
                    Verdict::Partly(rejected, why) => Verdict::Partly(rejected, self.hide(why)),
                    Verdict::Accepted(warning) => Verdict::Accepted(warning.map(|text| self.hide(text))),
                };
                (verdict, answer.wait)
            }
            Err(why) => (Verdict::Later(self.hide(why)), None),
        }
    }

    fn warn(&mut self, warning: String) {
        if self.warned.len() < 100 && self.warned.insert(warning.clone()) {
            tracing::warn!(url = %self.url, warning, "the receiver takes data points, with a warning");
        }
    }
}

impl Backend for Otlp {
    const NAME: &'static str = "otlp";

    fn series(&self, series: &mut Series) -> Result<(), String> {
        if series.name.is_empty() {
            return Err("its name is empty".into());
        }
        series.tags.retain(|(name, _)| !name.is_empty());
        series.tags.sort();
        series.tags.dedup_by(|next, kept| next.0 == kept.0);
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        self.options.temporality.into()
    }

    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn batch_size(&self) -> usize {
        MOST_POINTS
    }

    async fn connect(&mut self) -> Result<(), BackendError> {
        self.log_in().map_err(|why| BackendError::Retry { why: format!("failed to {why}"), after: None })
    }

    fn in_doubt(&mut self, batch: &Batch) {
        // Totals that come twice are the same totals.
        if self.temporality() == Temporality::Delta {
            self.doubted += batch.measurements.len() as u64;
        }
    }

    async fn send(&mut self, batch: &Batch) -> Result<Accepted, BackendError> {
        if self.client.is_none() {
            self.connect().await?;
        }
        let mut submission = Submission::new(batch.measurements.len(), MOST_POINTS);
        while let Some(part) = submission.next() {
            let measurements = part.iter().map(|&index| &batch.measurements[index]);
            let body = request(measurements, batch.time, &self.resources, self.style()).encode_to_vec();
            let (verdict, wait) = self.post(body).await;
            match verdict {
                Verdict::Accepted(warning) => {
                    submission.accepted();
                    warning.into_iter().for_each(|warning| self.warn(warning));
                }
                Verdict::Wrong(why) => submission.wrong(part, &why),
                Verdict::Partly(rejected, why) if rejected >= part.len() as u64 => {
                    submission.refused(part, &why)
                }
                // Totals may be sent again, to find those that are rejected.
                Verdict::Partly(_, why) if self.temporality() == Temporality::Cumulative => {
                    submission.wrong(part, &why);
                }
                Verdict::Partly(rejected, why) => {
                    self.rejected += rejected;
                    tracing::error!(url = %self.url, why, "the receiver has not taken all data points, and not said which");
                    submission.accepted();
                }
                Verdict::Later(why) => submission.later(part, BackendError::Retry { why, after: wait }),
            }
        }
        submission.end()
    }

    fn counts(&self) -> Vec<(&'static str, u64)> {
        vec![("points_rejected", self.rejected), ("points_doubted", self.doubted)]
    }

    fn render(&self, batch: &Batch) -> String {
        let request = request(batch.measurements.iter(), batch.time, &self.resources, self.style());
        format!("POST {}\n{}", self.url, text(&request))
    }
}

impl BackendOptions for Options {
    type Backend = Otlp;
    const ABOUT: &'static str = "Send OTLP over HTTP, to collectors and hosted services";
    const EXAMPLES: &'static str = "\
--url http://127.0.0.1:4318 --service-name shop
--url https://otel.example.org --headers-file ~/.otel-headers --temporality delta
--dry-run           print what would be sent";

    fn open(self, worker: &zibrato_worker::Options) -> Result<Otlp, OpenError> {
        let instance_tag = worker.instance_tag.as_deref();
        if worker.dry_run { Ok(Otlp::idle(self, instance_tag)) } else { Ok(Otlp::new(self, instance_tag)?) }
    }
}
