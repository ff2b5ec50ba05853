//! The backend: batches in, requests out.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use zibrato_core::frame::Kind;
use zibrato_http::{Client, HeaderValue, Request, Submission, Url, basic};
use zibrato_worker::{Accepted, Backend, BackendError, Batch, Series};

use crate::payload::{Entry, Payload, body, payload, same_name};
use crate::split::{Next, split};
use crate::verdict::{Verdict, judge};
use crate::{Error, Options, Token, limits, naming};

/// Most measurements of one request, as Librato recommends.
const MOST_ENTRIES: usize = 300;
const JSON: &str = "application/json";
/// Most series and times that are remembered to find two kinds of one name.
const MOST_REMEMBERED: usize = 100_000;

/// Flushes to a Librato-compatible service.
#[derive(Debug)]
pub struct Librato {
    options: Options,
    /// In seconds.
    period: u64,
    url: Url,
    token: Option<Token>,
    client: Option<Client>,
    authorization: Option<HeaderValue>,
    /// Until when the service asked not to be asked, and what it said.
    pause: Option<(Instant, String)>,
    /// What was sent last with one time: series, and the kind that it had.
    sent: HashMap<u64, Kind>,
    sent_at: u64,
}

impl Librato {
    /// A backend that tells the service to expect something every `period` (rounded, at least 1 s), with the token from
    /// `--token-file` or else from the environment variable `LIBRATO_TOKEN`. A token file is read again after a failure.
    ///
    /// Without user name or token the backend can only render, as `--dry-run` does.
    ///
    /// # Errors
    /// When the token file cannot be read.
    pub fn new(options: Options, period: Duration) -> Result<Librato, Error> {
        let token = match &options.token_file {
            Some(path) => Some(Token::from_file(path)?),
            None => Token::from_environment(),
        };
        Ok(Self::build(options, period, token))
    }

    /// The same with this token, whatever else is set.
    pub fn with_token(mut options: Options, period: Duration, token: Token) -> Librato {
        options.token_file = None;
        Self::build(options, period, Some(token))
    }

    fn build(options: Options, period: Duration, token: Option<Token>) -> Librato {
        Librato {
            url: options.url.join(options.api.path()),
            period: (period.as_secs_f64().round() as u64).max(1),
            options,
            token,
            client: None,
            authorization: None,
            pause: None,
            sent: HashMap::new(),
            sent_at: 0,
        }
    }

    /// Whether user name and token are there, so that `send` can log in.
    ///
    /// # Errors
    /// Which of them is missing.
    pub fn check_credentials(&self) -> Result<(), Error> {
        if self.options.username.as_deref().unwrap_or_default().is_empty() {
            return Err(Error::NoUsername);
        }
        self.token.as_ref().map(|_| ()).ok_or(Error::NoToken)
    }

    fn log_in(&mut self) -> Result<(), Error> {
        if let Some(path) = &self.options.token_file {
            self.token = Some(Token::from_file(path)?);
        }
        self.check_credentials()?;
        let username = self.options.username.as_deref().ok_or(Error::NoUsername)?;
        self.authorization = Some(basic(username, self.token.as_ref().ok_or(Error::NoToken)?.secret())?);
        if self.client.is_none() {
            self.client = Some(Client::new(&self.options.url, &self.options.way, self.options.timeout)?);
        }
        Ok(())
    }

    /// What is to be sent, without what would overwrite another kind of the same name that went before.
    fn prepare(&mut self, batch: &Batch) -> Payload {
        let mut payload = payload(batch, self.options.api, self.period);
        if self.sent_at != batch.time || self.sent.len() > MOST_REMEMBERED {
            self.sent.clear();
            self.sent_at = batch.time;
        }
        payload.entries.retain_mut(|entry| match self.sent.get(&entry.key) {
            Some(&other) if other != entry.kind => {
                let why = same_name(entry.kind, other);
                payload.refused.extend(entry.indices.iter().map(|&i| (i, why.clone())));
                false
            }
            _ => true,
        });
        payload
    }

    async fn post(&mut self, entries: &[&Entry]) -> Verdict {
        let (Some(client), Some(authorization), Some(token)) =
            (&self.client, &self.authorization, &self.token)
        else {
            return Verdict::Later("not logged in yet".into());
        };
        let token = token.secret();
        let body = body(entries.iter().copied(), self.options.api);
        let request = Request::new(self.url.clone(), JSON, body.into())
            .header("authorization", authorization.clone())
            .header("accept", HeaderValue::from_static(JSON));
        match client.post(request).await {
            Ok(answer) => {
                let verdict = judge(&answer, entries, token);
                if let Some(wait) = limits::wait(&answer) {
                    let why = format!("{} has said to wait (answered {})", self.url, answer.status);
                    self.pause = Instant::now().checked_add(wait).map(|until| (until, why));
                }
                match verdict {
                    Verdict::Later(why) => Verdict::Later(format!("{} {why}", self.url)),
                    other => other,
                }
            }
            Err(why) => Verdict::Later(token.hide_in(&why)),
        }
    }

    fn pause_left(&self) -> Option<(Duration, &str)> {
        let (until, why) = self.pause.as_ref()?;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some((left, why))
    }
}

impl Backend for Librato {
    const NAME: &'static str = "librato";

    fn series(&self, series: &mut Series) -> Result<(), String> {
        naming::clean(series, self.options.api, self.options.kind_suffix)
    }

    fn batch_size(&self) -> usize {
        MOST_ENTRIES
    }

    async fn connect(&mut self) -> Result<(), BackendError> {
        self.log_in().map_err(|why| BackendError::Retry { why: format!("failed to {why}"), after: None })
    }

    async fn send(&mut self, batch: &Batch) -> Result<Accepted, BackendError> {
        if self.authorization.is_none() {
            self.connect().await?;
        }
        let Payload { entries, refused } = self.prepare(batch);
        let mut submission = Submission::new(entries.len(), MOST_ENTRIES);
        while let Some(part) = submission.next() {
            if let Some((left, why)) = self.pause_left() {
                let why = BackendError::Retry { why: why.to_owned(), after: Some(left) };
                submission.later(part, why);
                break;
            }
            let sent: Vec<&Entry> = part.iter().map(|&i| &entries[i]).collect();
            match self.post(&sent).await {
                Verdict::Accepted => {
                    self.sent.extend(sent.iter().map(|e| (e.key, e.kind)));
                    submission.accepted();
                }
                Verdict::Later(why) => {
                    let after = self.pause_left().map(|(left, _)| left);
                    submission.later(part, BackendError::Retry { why, after });
                }
                Verdict::Wrong { why, meant, only_times } => {
                    match split(&entries, &part, &meant, only_times) {
                        Next::Try(groups) => submission.again(groups),
                        Next::Refuse => submission.refused(part, &why),
                    }
                }
            }
        }
        submission.end_with(refused, |entry| entries[entry].indices.iter().copied())
    }

    fn render(&self, batch: &Batch) -> String {
        let Payload { entries, refused } = payload(batch, self.options.api, self.period);
        let mut lines: Vec<String> = entries
            .chunks(MOST_ENTRIES)
            .map(|chunk| format!("POST {}\n{}", self.url, body(chunk.iter(), self.options.api)))
            .collect();
        lines.extend(refused.iter().map(|(i, why)| {
            let series = &batch.measurements[*i].series;
            format!("not sent: {} of {:?}: {why}", series.name, series.source)
        }));
        lines.join("\n")
    }
}
