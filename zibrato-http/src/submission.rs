//! A batch in several requests, some of which a service may refuse.

use std::time::{Duration, Instant};

use zibrato_worker::{Accepted, BackendError};

/// Most requests for one batch; what is not through by then is left for the next time.
const MOST_REQUESTS: usize = 100;
/// When the rest is left for the next time, so that the kit does not give a batch up before it has reported.
const MOST_TIME: Duration = Duration::from_secs(10);

/// What of a batch is still to be sent, while a service takes some requests and refuses others.
///
/// Entries are what a request is made of, by their numbers from 0. [`next`](Submission::next) says which ones the next
/// request has; then the caller reports what became of it. Entries of a refused request are sent again in halves, until the
/// bad ones stand alone, so it must do no harm to send what was taken before once more.
///
/// ```
/// # use zibrato_http::Submission;
/// # use zibrato_worker::Accepted;
/// let bad = 5;
/// let mut submission = Submission::new(9, 4);
/// while let Some(part) = submission.next() {
///     if part.contains(&bad) {
///         submission.wrong(part, "it is odd");
///     } else {
///         submission.accepted();
///     }
/// }
/// let refused = vec![(5, "it is odd".to_owned())];
/// assert_eq!(submission.end(), Ok(Accepted::Partly { refused, retry: vec![] }));
/// ```
#[derive(Debug)]
pub struct Submission {
    /// What the next requests have, last first.
    parts: Vec<Vec<usize>>,
    refused: Vec<(usize, String)>,
    stopped: Option<BackendError>,
    progress: bool,
    requests: usize,
    began: Instant,
}

impl Submission {
    /// A submission of so many entries, at most `most` of them in a request.
    pub fn new(entries: usize, most: usize) -> Submission {
        let all: Vec<usize> = (0..entries).collect();
        Submission {
            parts: all.chunks(most.max(1)).rev().map(<[usize]>::to_vec).collect(),
            refused: Vec::new(),
            stopped: None,
            progress: false,
            requests: 0,
            began: Instant::now(),
        }
    }

    /// Which entries the next request has, at least one, in order; `None` at the end, after 100 requests, and where
    /// something went through but 10 s are over.
    #[allow(clippy::should_implement_trait, reason = "what comes next depends on what is reported between")]
    pub fn next(&mut self) -> Option<Vec<usize>> {
        let late = self.progress && self.began.elapsed() > MOST_TIME;
        if self.stopped.is_some() || self.requests == MOST_REQUESTS || late {
            return None;
        }
        self.requests += 1;
        self.parts.pop()
    }

    /// The service has taken the request.
    pub fn accepted(&mut self) {
        self.progress = true;
    }

    /// The service will never take these entries.
    pub fn refused(&mut self, entries: impl IntoIterator<Item = usize>, why: &str) {
        self.refused.extend(entries.into_iter().map(|entry| (entry, why.to_owned())));
        self.progress = true;
    }

    /// Something in a request is wrong: its halves are tried next, or it is refused where it has one entry.
    pub fn wrong(&mut self, part: Vec<usize>, why: &str) {
        if part.len() < 2 {
            return self.refused(part, why);
        }
        let (left, right) = part.split_at(part.len() / 2);
        self.again(vec![right.to_vec(), left.to_vec()]);
    }

    /// These groups of entries are tried next, the last one first.
    pub fn again(&mut self, groups: Vec<Vec<usize>>) {
        self.parts.extend(groups.into_iter().filter(|group| !group.is_empty()));
    }

    /// The service takes nothing now; this part of the batch and what is left wait.
    pub fn later(&mut self, part: Vec<usize>, why: BackendError) {
        self.parts.push(part);
        self.stopped = Some(why);
    }

    /// What a backend reports, where entries are the batch's measurements.
    ///
    /// # Errors
    /// Why nothing went through.
    pub fn end(self) -> Result<Accepted, BackendError> {
        self.end_with(Vec::new(), |entry| [entry])
    }

    /// The same where each entry has some of the batch's measurements, and some were refused before.
    ///
    /// # Errors
    /// Why nothing went through.
    pub fn end_with<I: IntoIterator<Item = usize>>(
        self,
        mut refused: Vec<(usize, String)>,
        measurements: impl Fn(usize) -> I,
    ) -> Result<Accepted, BackendError> {
        let progress = self.progress || !refused.is_empty();
        for (entry, why) in self.refused {
            refused.extend(measurements(entry).into_iter().map(|index| (index, why.clone())));
        }
        let mut retry: Vec<usize> = self.parts.into_iter().flatten().flat_map(measurements).collect();
        match self.stopped {
            // What went through goes through again then, and is stored over itself.
            Some(why) if !progress => Err(why),
            _ if refused.is_empty() && retry.is_empty() => Ok(Accepted::All),
            _ => {
                refused.sort();
                retry.sort_unstable();
                Ok(Accepted::Partly { refused, retry })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later() -> BackendError {
        BackendError::Retry { why: "down".into(), after: None }
    }

    #[test]
    fn all_goes_in_order() {
        let mut submission = Submission::new(5, 2);
        let mut sent = Vec::new();
        while let Some(part) = submission.next() {
            sent.extend(part);
            submission.accepted();
        }
        assert_eq!(sent, [0, 1, 2, 3, 4]);
        assert_eq!(submission.end(), Ok(Accepted::All));
        assert_eq!(Submission::new(0, 2).end(), Ok(Accepted::All));
    }

    #[test]
    fn trouble_keeps_what_is_left() {
        let mut submission = Submission::new(5, 2);
        let part = submission.next().unwrap();
        submission.later(part, later());
        assert_eq!(submission.next(), None);
        assert_eq!(submission.end(), Err(later()));

        let mut submission = Submission::new(5, 2);
        submission.next().unwrap();
        submission.accepted();
        let part = submission.next().unwrap();
        submission.later(part, later());
        assert_eq!(submission.end(), Ok(Accepted::Partly { refused: vec![], retry: vec![2, 3, 4] }));
    }

    #[test]
    fn all_bad_ends_after_so_many_requests() {
        let mut submission = Submission::new(300, 300);
        let mut requests = 0;
        while let Some(part) = submission.next() {
            requests += 1;
            submission.wrong(part, "no");
        }
        assert_eq!(requests, MOST_REQUESTS);
        let Ok(Accepted::Partly { refused, retry }) = submission.end() else { panic!("all accepted") };
        assert!(!refused.is_empty());
        assert_eq!(refused.len() + retry.len(), 300);
    }

    #[test]
    fn entries_are_mapped_to_measurements() {
        let mut submission = Submission::new(2, 2);
        let part = submission.next().unwrap();
        submission.refused([part[1]], "no");
        let ended = submission.end_with(vec![(0, "bad".into())], |entry| [entry * 2 + 1, entry * 2 + 2]);
        let refused = vec![(0, "bad".into()), (3, "no".into()), (4, "no".into())];
        assert_eq!(ended, Ok(Accepted::Partly { refused, retry: vec![] }));
    }
}
