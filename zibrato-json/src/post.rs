//! Lines to an HTTP endpoint.

use zibrato_http::{
    Client, Error, HeaderValue, Request, Secret, SecretPlace, ServiceUrl, Submission, bearer,
};
use zibrato_worker::{Accepted, BackendError};

/// Most lines of one request.
const MOST_LINES: usize = 1000;

/// An endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) url: ServiceUrl,
    pub(crate) token: SecretPlace,
    pub(crate) gzip: bool,
    pub(crate) client: Client,
}

impl Endpoint {
    /// Posts lines in requests of at most 1000. Those of a request that is refused are posted again in halves, until the
    /// bad ones stand alone.
    pub(crate) async fn post(&self, lines: &[String]) -> Result<Accepted, BackendError> {
        let later = |why: String| BackendError::Retry { why, after: None };
        // Read for each batch: it may have been changed.
        let token = self.token.read().map_err(|why| later(format!("failed to {why}")))?;
        let mut submission = Submission::new(lines.len(), MOST_LINES);
        while let Some(part) = submission.next() {
            let request = self.request(&part, lines, token.as_ref());
            let request = request.map_err(|why| later(format!("failed to {why}")))?;
            let answer = match self.client.post(request).await {
                Ok(answer) => answer,
                Err(why) => {
                    submission.later(part, later(why));
                    break;
                }
            };
            let said = answer.said(&answer.body);
            let said = match &token {
                Some(token) => token.hide_in(&said),
                None => said,
            };
            match answer.status {
                200..300 => submission.accepted(),
                400 | 413 | 422 => submission.wrong(part, &said),
                status => {
                    let hint = match status {
                        401 | 403 => ": check the token",
                        300..=399 | 404 | 405 | 415 => ": check the URL",
                        _ => "",
                    };
                    let why = format!("{} {said}{hint}", self.url);
                    submission.later(part, BackendError::Retry { why, after: answer.wait });
                }
            }
        }
        submission.end()
    }

    fn request(&self, part: &[usize], lines: &[String], token: Option<&Secret>) -> Result<Request, Error> {
        let body: String = part.iter().map(|&i| lines[i].as_str()).collect();
        let request = Request::new(self.url.url().clone(), "application/x-ndjson", body.into())
            .header("accept", HeaderValue::from_static("*/*"))
            .gzip(self.gzip);
        Ok(match token {
            Some(token) => request.header("authorization", bearer("Bearer", token)?),
            None => request,
        })
    }
}
