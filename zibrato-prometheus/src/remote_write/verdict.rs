//! What an answer means for the series of its request.

use zibrato_http::Answer;

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The server has all of it.
    Accepted,
    /// Something in it is wrong, for good.
    Wrong(String),
    /// The server has some series at these times or later ones already.
    Stored(String),
    /// Some times are out of what the server takes, for good: it has said so with 400 or with 500.
    Untimely(String),
    /// It does not take native histograms.
    NoNative(String),
    /// It may be accepted later, just as it is.
    Later(String),
}

/// How Prometheus, Mimir and Cortex say that they have a series at this time or later.
const STORED: [&str; 5] =
    ["out of order", "out-of-order", "duplicate sample", "duplicate-timestamp", "repeated timestamp"];

/// Judges an answer.
pub(super) fn judge(answer: &Answer) -> Verdict {
    let text = answer.body.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let said = answer.said(&answer.body);
    match answer.status {
        200..300 => Verdict::Accepted,
        // Prometheus 2.42 has 500 for this; Mimir drops them, or has 400.
        400..600 if says(&["native histograms are disabled", "native histograms disabled"]) => {
            Verdict::NoNative(said)
        }
        400 | 409 | 422 if says(&STORED) => Verdict::Stored(said),
        // Prometheus 2.42 has 500 for samples that are too old.
        400 | 409 | 422 | 500 if says(&["too old", "out of bounds", "too far in the", "too-old"]) => {
            Verdict::Untimely(said)
        }
        401 | 403 => Verdict::Later(format!("{said}: check the user, the password or token, and the tenant")),
        300..400 | 404 | 405 | 415 => {
            Verdict::Later(format!("{said}: check the URL, and that the server takes remote writes"))
        }
        429 | 500..600 | 408 => Verdict::Later(said),
        _ => Verdict::Wrong(said),
    }
}

#[cfg(test)]
mod tests {
    use zibrato_http::HeaderMap;

    use super::*;

    #[test]
    fn knows_what_servers_say() {
        let judged = |status, body: &str| judge(&Answer::new(status, HeaderMap::new(), body.into()));
        assert_eq!(judged(204, ""), Verdict::Accepted);
        assert!(matches!(judged(400, "out of order sample\n"), Verdict::Stored(_)));
        assert!(matches!(judged(400, "duplicate sample for timestamp\n"), Verdict::Stored(_)));
        assert!(matches!(judged(400, "out of bounds\n"), Verdict::Untimely(_)));
        assert!(matches!(judged(500, "too old sample\n"), Verdict::Untimely(_)));
        assert!(matches!(judged(500, "native histograms are disabled\n"), Verdict::NoNative(_)));
        assert!(matches!(judged(500, "no space left on device\n"), Verdict::Later(_)));
        assert!(matches!(judged(429, "slow down"), Verdict::Later(_)));
        assert!(matches!(judged(401, "Unauthorized"), Verdict::Later(_)));
        assert!(matches!(judged(404, ""), Verdict::Later(_)));
        assert!(matches!(judged(400, "label name is not unique"), Verdict::Wrong(_)));
        assert!(matches!(
            judged(400, "duplicate label names (err-mimir-duplicate-label-names)"),
            Verdict::Wrong(_)
        ));
        assert!(matches!(judged(400, "(err-mimir-sample-duplicate-timestamp)"), Verdict::Stored(_)));
        assert!(matches!(judged(413, ""), Verdict::Wrong(_)));
    }
}
