//! What an answer means for the points of its request.

use serde_json::Value;
use zibrato_http::Answer;

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The server has all of it.
    Accepted,
    /// The server will never take some of its points; what it has taken may be written again.
    Wrong {
        /// Whether it takes none of them.
        all: bool,
    },
    /// It may be accepted later, just as it is; perhaps after somebody has done this.
    Later(&'static str),
}

/// What of an answer's body is for people: the message of InfluxDB 1 (`error`), of 2 and 3 (`message`), or all of it.
pub(crate) fn message(answer: &Answer) -> String {
    let body: Option<Value> = serde_json::from_str(&answer.body).ok();
    let field = |name: &str| Some(body.as_ref()?.get(name)?.as_str()?.to_owned());
    let message = field("error").or_else(|| field("message"));
    match body.as_ref().and_then(|body| body.get("data")) {
        // InfluxDB 3 lists here what is wrong with each line.
        Some(data) => message.map(|message| format!("{message}: {data}")),
        None => message,
    }
    .unwrap_or_else(|| answer.body.clone())
}

/// Judges an answer to a request with so many points.
pub(crate) fn judge(answer: &Answer, message: &str, points: usize) -> Verdict {
    match answer.status {
        200..300 => Verdict::Accepted,
        // What is too large as a whole, and perhaps not in halves.
        413 => Verdict::Wrong { all: false },
        400 | 422 if answer.status == 422 || is_about_points(message) => {
            Verdict::Wrong { all: dropped(message) == Some(points) }
        }
        400 => Verdict::Later(": check the URL and what else was given"),
        401 => Verdict::Later(": check the user name and the password, or the token"),
        403 => Verdict::Later(": check what the user or the token may write to"),
        404 => Verdict::Later(": check that the database or the bucket exists, and the URL"),
        300..400 | 405 | 415 => Verdict::Later(": check the URL"),
        _ => Verdict::Later(""),
    }
}

/// Whether a refusal is about what was written, and not about where and by whom.
fn is_about_points(message: &str) -> bool {
    const SIGNS: [&str; 5] = ["partial write", "line protocol", "parse", "conflict", "outside range"];
    let message = message.to_lowercase();
    SIGNS.iter().any(|sign| message.contains(sign))
}

/// Whether a message is about this measurement, as in `on measurement "cpu" is type`. This is only a hint where to look.
pub(crate) fn names(message: &str, measurement: &str) -> bool {
    let mut quoted = message
        .match_indices(measurement)
        .map(|(at, _)| (message[..at].chars().next_back(), message[at + measurement.len()..].chars().next()));
    quoted.any(|around| around == (Some('"'), Some('"')))
}

/// How many points were dropped, where the message ends with it.
fn dropped(message: &str) -> Option<usize> {
    let (_, number) = message.trim_end().rsplit_once("dropped=")?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zibrato_http::HeaderMap;

    use super::*;

    fn judged(status: u16, body: &str) -> (Verdict, String) {
        let answer = Answer::new(status, HeaderMap::new(), body.into());
        let message = message(&answer);
        (judge(&answer, &message, 3), message)
    }

    #[test]
    fn reads_what_servers_say() {
        let some = || Verdict::Wrong { all: false };
        let conflict = r#"{"error":"partial write: field type conflict: input field \"value\" on measurement \"cpu\" is type string, already exists as type float dropped=1"}"#;
        assert_eq!(judged(400, conflict).0, some());
        assert_eq!(judged(400, &conflict.replace("dropped=1", "dropped=3")).0, Verdict::Wrong { all: true });
        let unprocessable = r#"{"code":"unprocessable entity","message":"failure writing points to database: partial write: points beyond retention policy dropped=3"}"#;
        assert_eq!(judged(422, unprocessable).0, Verdict::Wrong { all: true });
        let third = r#"{"error":"partial write of line protocol occurred","data":[{"original_line":"x","line_number":2,"error_message":"no"}]}"#;
        assert_eq!(judged(400, third).0, some());
        assert!(judged(400, third).1.ends_with(r#""original_line":"x"}]"#), "{}", judged(400, third).1);
        assert_eq!(judged(413, "too large").0, some());
        assert_eq!(judged(204, "").0, Verdict::Accepted);
    }

    #[test]
    fn knows_which_measurement_is_meant() {
        let message = r#"input field "value" on measurement "cpu" is type string"#;
        assert!(names(message, "cpu") && names(message, "value"));
        assert!(!names(message, "cp") && !names(message, "is") && !names(message, "mem"));
    }

    #[test]
    fn only_what_points_are_blamed_for_costs_points() {
        for (status, body) in [
            (400, "<html>400 The plain HTTP request was sent to HTTPS port</html>"),
            (400, r#"{"error":"database is required"}"#),
            (401, r#"{"error":"unable to parse authentication credentials"}"#),
            (403, r#"{"error":"\"reader\" user is not authorized to write to database \"m\""}"#),
            (404, r#"{"error":"database not found: \"nope\""}"#),
            (500, r#"{"error":"engine: cache-max-memory-size exceeded"}"#),
            (503, ""),
        ] {
            assert!(matches!(judged(status, body).0, Verdict::Later(_)), "{status} {body}");
        }
    }

    proptest! {
        #[test]
        fn any_answer_has_a_verdict(status in 100..600u16, body in any::<String>(),
            json in "(\\{\"(error|message|data)\":)?[\\[\\]{}\",':a-z0-9= ]{0,60}") {
            judged(status, &body);
            judged(status, &json);
        }
    }
}
