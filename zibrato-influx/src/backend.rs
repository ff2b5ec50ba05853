//! The backend: batches in, requests out.

use std::time::Duration;

use zibrato_http::{Client, HeaderValue, Request, Secret, SecretPlace, Submission, Url, basic, bearer};
use zibrato_worker::{Accepted, Backend, BackendError, Batch, Series};

use crate::line::{Form, Lines};
use crate::options::Precision;
use crate::verdict::{Verdict, judge, message, names};
use crate::{Error, Options, naming};

/// How much of a message is searched for what it is about.
const MOST_SEARCHED: usize = 2000;

/// Writes to InfluxDB, or to what takes the same.
#[derive(Debug)]
pub struct Influx {
    url: Url,
    client: Client,
    /// Who logs in with a password; with a token, nobody.
    username: Option<String>,
    place: SecretPlace,
    /// What was read there last.
    secret: Option<Secret>,
    authorization: Option<HeaderValue>,
    form: Form,
    batch: usize,
    gzip: bool,
}

impl Influx {
    /// A backend that writes to where the options say. Secrets are read when it connects, so again after each failure.
    ///
    /// # Errors
    /// When there is neither a database nor a bucket, or the HTTP client cannot be set up.
    pub fn new(options: Options) -> Result<Influx, Error> {
        let place = match options.database {
            Some(_) => SecretPlace {
                what: "password",
                file: options.password_file.clone(),
                variable: "INFLUX_PASSWORD",
            },
            None => SecretPlace { what: "token", file: options.token_file.clone(), variable: "INFLUX_TOKEN" },
        };
        Ok(Influx {
            url: url(&options)?,
            client: Client::new(&options.url, &options.way, options.timeout)?,
            username: options.username.filter(|name| !name.is_empty()),
            place,
            secret: None,
            authorization: None,
            form: Form {
                step: options.precision.step(),
                source_tag: options.source_tag.name().to_owned(),
                floats: options.floats,
            },
            batch: options.batch,
            gzip: options.gzip,
        })
    }

    /// Whether there is a password where there is a user name, and what is in a file can be used.
    ///
    /// # Errors
    /// What is missing, or wrong with the file.
    pub fn check_credentials(&self) -> Result<(), Error> {
        match self.place.read()? {
            None if self.username.is_some() => Err(Error::NoPassword),
            _ => Ok(()),
        }
    }

    fn log_in(&mut self) -> Result<(), Error> {
        self.secret = self.place.read()?;
        self.authorization = match (&self.username, &self.secret) {
            (Some(_), None) => return Err(Error::NoPassword),
            (Some(username), Some(password)) => Some(basic(username, password)?),
            (None, Some(token)) if self.place.what == "token" => Some(bearer("Token", token)?),
            _ => None,
        };
        Ok(())
    }

    fn request(&self, body: String) -> Request {
        let request = Request::new(self.url.clone(), "text/plain; charset=utf-8", body.into())
            .header("accept", HeaderValue::from_static("application/json"))
            .gzip(self.gzip);
        match &self.authorization {
            Some(authorization) => request.header("authorization", authorization.clone()),
            None => request,
        }
    }

    fn hide_in(&self, text: String) -> String {
        match &self.secret {
            Some(secret) => secret.hide_in(&text),
            None => text,
        }
    }

    /// The server's address without what is not needed to find it.
    fn server(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

impl Backend for Influx {
    const NAME: &'static str = "influx";

    fn series(&self, series: &mut Series) -> Result<(), String> {
        naming::clean(series, &self.form.source_tag)
    }

    fn resolution(&self) -> Duration {
        self.form.step
    }

    fn batch_size(&self) -> usize {
        self.batch
    }

    async fn connect(&mut self) -> Result<(), BackendError> {
        self.log_in().map_err(|why| BackendError::Retry { why: format!("failed to {why}"), after: None })
    }

    async fn send(&mut self, batch: &Batch) -> Result<Accepted, BackendError> {
        let mut lines = Lines::of(batch, &self.form);
        let refused = std::mem::take(&mut lines.refused);
        let mut submission = Submission::new(lines.indices.len(), self.batch);
        while let Some(part) = submission.next() {
            let answer = match self.client.post(self.request(lines.body(&part))).await {
                Ok(answer) => answer,
                Err(why) => {
                    submission.later(part, BackendError::Retry { why: self.hide_in(why), after: None });
                    break;
                }
            };
            let message = message(&answer);
            let said = self.hide_in(answer.said(&message));
            match judge(&answer, &message, part.len()) {
                Verdict::Accepted => submission.accepted(),
                Verdict::Wrong { all: true } => submission.refused(part, &said),
                Verdict::Wrong { all: false } => {
                    let begins: String = message.chars().take(MOST_SEARCHED).collect();
                    let name = |line: usize| &batch.measurements[lines.indices[line]].series.name;
                    let named = |line: &usize| names(&begins, name(*line));
                    let (named, others): (Vec<usize>, Vec<usize>) = part.iter().partition(|line| named(line));
                    if named.is_empty() || others.is_empty() {
                        submission.wrong(part, &said);
                    } else {
                        submission.again(vec![others, named]);
                    }
                }
                Verdict::Later(hint) => {
                    let why = format!("{} {said}{hint}", self.server());
                    submission.later(part, BackendError::Retry { why, after: answer.wait });
                }
            }
        }
        submission.end_with(refused, |line| [lines.indices[line]])
    }

    fn render(&self, batch: &Batch) -> String {
        let lines = Lines::of(batch, &self.form);
        let mut text = format!("POST {}\n{}", self.url, lines.text());
        for (index, why) in lines.refused {
            let series = &batch.measurements[index].series;
            text += &format!("not sent: {} of {:?}: {why}\n", series.name, series.source);
        }
        text
    }
}

/// Where to post to.
fn url(options: &Options) -> Result<Url, Error> {
    let (path, pairs) = match (&options.database, &options.bucket) {
        (Some(database), _) => {
            let precision = match options.precision {
                Precision::Ns => "n",
                Precision::Us => "u",
                Precision::Ms => "ms",
                Precision::S => "s",
            };
            let policy = options.retention_policy.as_deref().map(|policy| ("rp", policy));
            let consistency = options.consistency.map(|consistency| ("consistency", consistency.name()));
            let pairs = [("db", database.as_str()), ("precision", precision)];
            ("/write", pairs.into_iter().chain(policy).chain(consistency).collect::<Vec<_>>())
        }
        (None, Some(bucket)) => {
            let precision = match options.precision {
                Precision::Ns => "ns",
                Precision::Us => "us",
                Precision::Ms => "ms",
                Precision::S => "s",
            };
            let org = options.org.as_deref().map(|org| ("org", org));
            let pairs = [("bucket", bucket.as_str()), ("precision", precision)];
            ("/api/v2/write", org.into_iter().chain(pairs).collect())
        }
        (None, None) => return Err(Error::NoTarget),
    };
    let mut url = options.url.join(path);
    url.query_pairs_mut().extend_pairs(pairs);
    Ok(url)
}
