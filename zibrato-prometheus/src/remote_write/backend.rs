//! The backend: batches in, requests out.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use zibrato_http::{Client, HeaderMap, HeaderValue, Request, Secret, SecretPlace, Submission, basic, bearer};
use zibrato_worker::{
    Accepted, Backend, BackendError, BackendOptions, Batch, Measurement, OpenError, Series, Temporality,
    Value,
};

use super::known::Known;
use super::messages::{TimeSeries, WriteRequest};
use super::options::{Histograms, Options, PASSWORD, TOKEN};
use super::request::{Shape, body, lines, metadata, series, stale};
use super::verdict::{Verdict, judge};
use crate::exposition::Head;
use crate::family::{FamilyKey, Names};
use crate::{Error, naming};

/// About as many series as Prometheus sends in one request.
const MOST_SERIES: usize = 2000;
/// Most measurements of one batch.
const MOST_MEASUREMENTS: usize = 5000;
/// How often a server is told again what it has been told of a family.
const METADATA: Duration = Duration::from_secs(60);
/// How many requests may be refused for their times before the rest is taken to be no better.
const MOST_UNTIMELY: usize = 32;
/// How many families it is remembered of that the server was told of them.
const MOST_TOLD: usize = 100_000;
/// Most ends of series that wait for a server that does not take them.
const MOST_ENDED: usize = 100_000;

/// Writes to a server that speaks remote write 1.0.
#[derive(Debug)]
pub struct RemoteWrite {
    options: Options,
    client: Option<Client>,
    /// Of every request; no secrets are in them but marked ones.
    headers: HeaderMap,
    secret: Option<Secret>,
    names: Names,
    known: Known,
    /// Series that are there no more, and at which time in milliseconds.
    ended: Vec<(Measurement, i64)>,
    /// When the server was told last what is known of a family.
    told: HashMap<String, Instant>,
    /// Whether the server has said that it takes no native histograms.
    no_native: bool,
}

/// A measurement as it is sent.
struct Entry {
    head: Head,
    series: Vec<TimeSeries>,
    /// Whether it is a total, which later batches have in them.
    is_total: bool,
}

impl RemoteWrite {
    /// A backend that sends what these options say.
    ///
    /// # Errors
    /// When a file with a secret cannot be read, or a user has no password.
    pub fn new(options: Options) -> Result<RemoteWrite, Error> {
        let mut this = RemoteWrite::idle(options);
        this.log_in()?;
        Ok(this)
    }

    /// A backend that has not looked for secrets yet, for `--dry-run`.
    pub fn idle(options: Options) -> RemoteWrite {
        RemoteWrite {
            options,
            client: None,
            headers: HeaderMap::new(),
            secret: None,
            names: Names::default(),
            known: Known::default(),
            ended: Vec::new(),
            told: HashMap::new(),
            no_native: false,
        }
    }

    /// Reads the secrets, again after every failure: they may have been changed.
    fn log_in(&mut self) -> Result<(), Error> {
        let mut headers = HeaderMap::new();
        for header in &self.options.header {
            headers.append(header.name.clone(), header.value.clone());
        }
        let place = |what, file: &Option<_>, variable| SecretPlace { what, file: file.clone(), variable };
        let authorization = match &self.options.username {
            Some(username) => {
                let password = place("password", &self.options.password_file, PASSWORD).read()?;
                let password = password.ok_or(Error::NoPassword)?;
                let value = basic(username, &password)?;
                Some((password, value))
            }
            None => match place("token", &self.options.token_file, TOKEN).read()? {
                Some(token) => {
                    let value = bearer("Bearer", &token)?;
                    Some((token, value))
                }
                None => None,
            },
        };
        if let Some((secret, value)) = authorization {
            headers.insert("authorization", value);
            self.secret = Some(secret);
        }
        headers.insert("content-encoding", HeaderValue::from_static("snappy"));
        headers.insert("x-prometheus-remote-write-version", HeaderValue::from_static("0.1.0"));
        self.headers = headers;
        if self.client.is_none() {
            self.client = Some(Client::new(&self.options.url, &self.options.way, self.options.timeout)?);
        }
        Ok(())
    }

    fn shape(&self) -> Shape<'_> {
        let wanted = self.options.histograms;
        Shape {
            source_label: &self.options.source_label,
            classic: (wanted != Histograms::Native || self.no_native).then_some(&self.options.classic),
            native: wanted != Histograms::Classic && !self.no_native,
        }
    }

    fn entries(&self, batch: &Batch) -> Vec<Entry> {
        let entry = |measurement: &Measurement| {
            let head = head(&self.names, measurement);
            let (time, began, is_total) = match measurement.value {
                Value::Point { time, .. } => (time, None, false),
                _ => (batch.time, self.known.began(batch, measurement), true),
            };
            let time = (time / 1_000_000) as i64;
            let series = series(&head, measurement, time, began, self.shape());
            Entry { head, series, is_total }
        };
        batch.measurements.iter().map(entry).collect()
    }

    /// A request for these entries, with what is known of families that the server was not told of for a while.
    fn request(&mut self, entries: &[&Entry]) -> WriteRequest {
        let mut request = WriteRequest::default();
        if self.told.len() > MOST_TOLD {
            self.told.clear();
        }
        for entry in entries {
            request.timeseries.extend(entry.series.iter().cloned());
            let told = self.told.get(&entry.head.name);
            if told.is_none_or(|at| at.elapsed() > METADATA) {
                self.told.insert(entry.head.name.clone(), Instant::now());
                request.metadata.push(metadata(&entry.head));
            }
        }
        request
    }

    async fn post(&self, request: &WriteRequest) -> (Verdict, Option<Duration>) {
        let Some(client) = &self.client else { return (Verdict::Later("not logged in yet".into()), None) };
        let body = match body(request) {
            Ok(body) => body,
            Err(why) => return (Verdict::Wrong(why), None),
        };
        let url = self.options.url.url().clone();
        let request = Request::new(url.clone(), "application/x-protobuf", body).headers(&self.headers);
        let hide =
            |why: String| self.secret.as_ref().map_or_else(|| why.clone(), |secret| secret.hide_in(&why));
        match client.post(request).await {
            Ok(answer) => {
                let verdict = match judge(&answer) {
                    Verdict::Later(why) => Verdict::Later(hide(format!("{url} {why}"))),
                    Verdict::Wrong(why) => Verdict::Wrong(hide(why)),
                    other => other,
                };
                (verdict, answer.wait)
            }
            Err(why) => (Verdict::Later(hide(why)), None),
        }
    }

    /// Sends the ends of series. They matter little, so nothing waits for them.
    async fn send_ends(&mut self) {
        while !self.ended.is_empty() {
            let some = self.ended.len().min(MOST_SERIES / 20);
            let mut request = WriteRequest::default();
            for (measurement, time) in &self.ended[..some] {
                let head = head(&self.names, measurement);
                request.timeseries.extend(stale(&head, measurement, *time, self.shape()));
            }
            match self.post(&request).await.0 {
                Verdict::Later(_) => return,
                Verdict::NoNative(_) if !self.no_native => self.no_native = true,
                Verdict::Accepted => drop(self.ended.drain(..some)),
                Verdict::Wrong(why)
                | Verdict::Stored(why)
                | Verdict::Untimely(why)
                | Verdict::NoNative(why) => {
                    tracing::debug!(series = some, why, "the server does not take the ends of series");
                    self.ended.drain(..some);
                }
            }
        }
    }
}

fn head(names: &Names, measurement: &Measurement) -> Head {
    let key = FamilyKey { name: measurement.series.name.clone(), kind: measurement.series.kind };
    let name = names.get(&key).unwrap_or(&key.name);
    Head::new(name, &key, measurement.help.as_deref(), measurement.unit.as_deref())
}

fn give_names(names: &mut Names, batch: &Batch) {
    let key = |m: &Measurement| FamilyKey { name: m.series.name.clone(), kind: m.series.kind };
    let mut keys: Vec<FamilyKey> = batch.measurements.iter().map(key).collect();
    keys.sort();
    keys.dedup();
    names.give(keys.iter());
}

impl Backend for RemoteWrite {
    const NAME: &'static str = "remote-write";

    fn series(&self, series: &mut Series) -> Result<(), String> {
        naming::clean(series, &self.options.source_label)
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }

    fn restore(&mut self, totals: Batch) {
        give_names(&mut self.names, &totals);
        self.known.restore(&totals);
    }

    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn batch_size(&self) -> usize {
        MOST_MEASUREMENTS
    }

    async fn connect(&mut self) -> Result<(), BackendError> {
        self.log_in().map_err(|why| BackendError::Retry { why: format!("failed to {why}"), after: None })
    }

    async fn send(&mut self, batch: &Batch) -> Result<Accepted, BackendError> {
        if self.client.is_none() {
            self.connect().await?;
        }
        give_names(&mut self.names, batch);
        let time = (batch.time / 1_000_000) as i64;
        let ended = self.known.note(batch, self.options.stale.as_nanos() as u64);
        self.ended.extend(ended.into_iter().map(|measurement| (measurement, time)));
        self.ended.truncate(MOST_ENDED);
        let mut entries = self.entries(batch);
        let largest = entries.iter().map(|entry| entry.series.len()).max().unwrap_or(1);
        let mut submission = Submission::new(entries.len(), MOST_SERIES / largest.max(1));
        let mut untimely = 0;
        while let Some(part) = submission.next() {
            let sent: Vec<&Entry> = part.iter().map(|&index| &entries[index]).collect();
            let request = self.request(&sent);
            let names: Vec<String> = request.metadata.iter().map(|m| m.metric_family_name.clone()).collect();
            let (verdict, wait) = self.post(&request).await;
            if verdict != Verdict::Accepted {
                self.told.retain(|name, _| !names.contains(name));
            }
            match verdict {
                Verdict::Accepted => submission.accepted(),
                Verdict::Wrong(why) => submission.wrong(part, &why),
                Verdict::Stored(why) | Verdict::Untimely(why)
                    if part.len() > 1 && untimely < MOST_UNTIMELY =>
                {
                    untimely += 1;
                    submission.wrong(part, &why);
                }
                Verdict::Stored(why) => {
                    // Of a total the server has this one, from a request whose answer was lost, or a later one.
                    let (totals, points): (Vec<usize>, Vec<usize>) =
                        part.iter().partition(|&&index| entries[index].is_total);
                    tracing::debug!(series = totals.len(), why, "the server has these totals already");
                    submission.accepted();
                    submission.refused(points, &why);
                }
                Verdict::Untimely(why) => submission.refused(part, &why),
                Verdict::NoNative(why) if !self.no_native => {
                    tracing::warn!(
                        why,
                        "the server takes no native histograms; they are sent as classic ones"
                    );
                    self.no_native = true;
                    entries = self.entries(batch);
                    submission.again(vec![part]);
                }
                Verdict::Later(why) | Verdict::NoNative(why) => {
                    submission.later(part, BackendError::Retry { why, after: wait });
                }
            }
        }
        let result = submission.end();
        if result.is_ok() {
            self.send_ends().await;
        }
        result
    }

    fn render(&self, batch: &Batch) -> String {
        let mut this = RemoteWrite::idle(self.options.clone());
        give_names(&mut this.names, batch);
        let entries = this.entries(batch);
        let request = this.request(&entries.iter().collect::<Vec<_>>());
        format!("POST {}\n{}", self.options.url, lines(&request))
    }
}

impl BackendOptions for Options {
    type Backend = RemoteWrite;
    const ABOUT: &'static str = "Write to Prometheus, Mimir, VictoriaMetrics or the like by remote write";
    const EXAMPLES: &'static str = "\
--url http://127.0.0.1:9090/api/v1/write
--url https://mimir.example.org/api/v1/push --header X-Scope-OrgID=team --username 7 --password-file ~/.mimir
--histograms classic --dry-run     print what would be written";

    fn open(self, worker: &zibrato_worker::Options) -> Result<RemoteWrite, OpenError> {
        if worker.dry_run { Ok(RemoteWrite::idle(self)) } else { Ok(RemoteWrite::new(self)?) }
    }
}
