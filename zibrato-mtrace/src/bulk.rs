//! Lines to a bulk endpoint, as Elasticsearch and OpenSearch have it.

mod fate;

use std::str::FromStr;

use time::OffsetDateTime;
use zibrato_http::{Client, Error, HeaderValue, Request, SecretPlace, ServiceUrl, Submission, basic, bearer};
use zibrato_worker::{Accepted, BackendError};

use self::fate::{Fate, fates};
use crate::{Line, json};

/// Most documents of one request.
const MOST: usize = 500;

/// The name of an index, with the UTC date of each line where it has `%Y`, `%m`, `%d`, `%H` or `%j`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexPattern(String);

impl IndexPattern {
    /// The index of a line of this time, in nanoseconds since 1970.
    pub fn index(&self, time: u64) -> String {
        let time = OffsetDateTime::from_unix_timestamp_nanos(time.into());
        let time = time.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let mut index = String::new();
        let mut chars = self.0.chars();
        while let Some(c) = chars.next() {
            match if c == '%' { chars.next() } else { None } {
                Some('Y') => index += &time.year().to_string(),
                Some('m') => index += &format!("{:02}", u8::from(time.month())),
                Some('d') => index += &format!("{:02}", time.day()),
                Some('H') => index += &format!("{:02}", time.hour()),
                Some('j') => index += &format!("{:03}", time.ordinal()),
                _ => index.push(c),
            }
        }
        index
    }
}

impl FromStr for IndexPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<IndexPattern, String> {
        let text = text.trim();
        let codes: Vec<&str> = text.split('%').skip(1).collect();
        if let Some(bad) = codes.iter().find(|code| !code.starts_with(['Y', 'm', 'd', 'H', 'j'])) {
            let code = bad.chars().next().map(String::from).unwrap_or_default();
            return Err(format!("%{code} is not one of %Y, %m, %d, %H and %j"));
        }
        // As Elasticsearch names indices.
        let plain = IndexPattern(text.into()).index(0);
        let forbidden = |c: char| c.is_uppercase() || c.is_control() || "\\/*?\"<>| ,#:".contains(c);
        if plain.is_empty() || plain.starts_with(['-', '_', '+', '.']) || plain.contains(forbidden) {
            return Err(
                "an index is called in lower case, without blanks and any of \\/*?\"<>|,#: and begins \
                        with a letter or digit"
                    .into(),
            );
        }
        Ok(IndexPattern(text.into()))
    }
}

/// An endpoint.
#[derive(Debug)]
pub(crate) struct Bulk {
    pub(crate) url: ServiceUrl,
    pub(crate) index: IndexPattern,
    pub(crate) user: Option<String>,
    pub(crate) password: SecretPlace,
    pub(crate) api_key: SecretPlace,
    pub(crate) gzip: bool,
    pub(crate) client: Client,
}

impl Bulk {
    /// What is sent for a line: an action and a document. A repeat has the same id, and overwrites itself.
    pub(crate) fn lines(&self, line: &Line) -> String {
        let action =
            serde_json::json!({ "index": { "_index": self.index.index(line.time), "_id": line.id() } });
        format!("{action}\n{}\n", json::document(line))
    }

    /// Posts what [`lines`](Bulk::lines) made, in requests of at most 500.
    pub(crate) async fn post(&self, lines: &[String]) -> Result<Accepted, BackendError> {
        let later = |why: String| BackendError::Retry { why, after: None };
        let mut submission = Submission::new(lines.len(), MOST);
        while let Some(part) = submission.next() {
            let request = self.request(&part, lines).map_err(|why| later(format!("failed to {why}")))?;
            let answer = match self.client.post(request).await {
                Ok(answer) => answer,
                Err(why) => {
                    submission.later(part, later(why));
                    break;
                }
            };
            let said = self.hidden(&answer.said(&answer.body));
            match answer.status {
                200..300 => match fates(&answer.body, part.len()) {
                    Some(fates) => self.sort_out(&mut submission, &part, fates, answer.wait),
                    // Of an answer that was cut short, halves have shorter ones.
                    None if part.len() > 1 => submission.wrong(part, &said),
                    None => submission.later(part, later(format!("{} {said}", self.url))),
                },
                400 | 413 | 422 => submission.wrong(part, &said),
                status => {
                    let hint = match status {
                        401 | 403 => ": check user, password or API key",
                        300..=399 | 404 | 405 => ": check the URL",
                        _ => "",
                    };
                    let why = format!("{} {said}{hint}", self.url);
                    submission.later(part, BackendError::Retry { why, after: answer.wait });
                }
            }
        }
        submission.end()
    }

    /// One answer has a word for each document: some are stored, some never will be, and some are to come again.
    fn sort_out(
        &self,
        submission: &mut Submission,
        part: &[usize],
        fates: Vec<Fate>,
        wait: Option<std::time::Duration>,
    ) {
        let mut again = Vec::new();
        let mut why_again = None;
        submission.accepted();
        for (&entry, fate) in part.iter().zip(fates) {
            match fate {
                Fate::Stored => {}
                Fate::Later(why) => {
                    again.push(entry);
                    why_again.get_or_insert(why);
                }
                Fate::Refused(why) => submission.refused([entry], &self.hidden(&why)),
            }
        }
        if let Some(why) = why_again {
            let why = format!("{} answered {}", self.url, self.hidden(&why));
            submission.later(again, BackendError::Retry { why, after: wait });
        }
    }

    fn hidden(&self, text: &str) -> String {
        let secrets = [&self.password, &self.api_key].map(|place| place.read().ok().flatten());
        secrets.iter().flatten().fold(text.to_owned(), |text, secret| secret.hide_in(&text))
    }

    fn request(&self, part: &[usize], lines: &[String]) -> Result<Request, Error> {
        let body: String = part.iter().filter_map(|&i| lines.get(i)).map(String::as_str).collect();
        let request = Request::new(self.url.join("/_bulk"), "application/x-ndjson", body.into())
            .header("accept", HeaderValue::from_static("application/json"))
            .gzip(self.gzip);
        // Read for each request: they may have been changed.
        if let Some(key) = self.api_key.read()? {
            return Ok(request.header("authorization", bearer("ApiKey", &key)?));
        }
        Ok(match (&self.user, self.password.read()?) {
            (Some(user), Some(password)) => request.header("authorization", basic(user, &password)?),
            _ => request,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_have_the_date_of_the_line() {
        let index =
            |pattern: &str| pattern.parse::<IndexPattern>().map(|p| p.index(1_767_323_045_000_000_000));
        assert_eq!(index("zibrato-mtrace-%Y.%m.%d"), Ok("zibrato-mtrace-2026.01.02".into()));
        assert_eq!(index("a-%j-%H"), Ok("a-002-03".into()));
        assert_eq!(index("plain"), Ok("plain".into()));
        for bad in ["", "Upper", "a b", "-a", "a-%y", "a%", "a,b", ".a"] {
            assert!(index(bad).is_err(), "{bad}");
        }
    }
}
