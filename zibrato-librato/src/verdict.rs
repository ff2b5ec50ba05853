//! What an answer means for the measurements of its request.

use serde_json::Value;
use zibrato_http::{Answer, Secret};

use crate::payload::Entry;

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The service has all of it.
    Accepted,
    /// Something in it is wrong.
    Wrong {
        /// Why.
        why: String,
        /// Which measurements seem to be meant, as indices into the request; empty where nothing says so.
        meant: Vec<usize>,
        /// Whether only times are wrong, so that what has the same time is as wrong.
        only_times: bool,
    },
    /// It may be accepted later, just as it is.
    Later(String),
}

/// Judges an answer to a request with these entries.
pub(crate) fn judge(answer: &Answer, entries: &[&Entry], token: &Secret) -> Verdict {
    let body: Option<Value> = serde_json::from_str(&answer.body).ok();
    let errors = body.as_ref().and_then(|b| b.get("errors"));
    let text = errors.map_or_else(|| answer.body.clone(), Value::to_string);
    let said = || token.hide_in(&answer.said(&text));
    match answer.status {
        200..300 => {
            let failed = body
                .as_ref()
                .and_then(|b| b.pointer("/measurements/summary/failed"))
                .and_then(Value::as_u64)
                .is_some_and(|failed| failed > 0);
            let listed = errors.is_some_and(|e| match e {
                Value::Array(list) => !list.is_empty(),
                Value::Object(fields) => !fields.is_empty(),
                _ => false,
            });
            if !failed && !listed {
                Verdict::Accepted
            } else if errors.is_some_and(|e| e.to_string().to_lowercase().contains("rate limit")) {
                Verdict::Later(said())
            } else {
                wrong(said(), errors, entries)
            }
        }
        400 | 422 => wrong(said(), errors, entries),
        413 => Verdict::Wrong { why: said(), meant: Vec::new(), only_times: false },
        401 => Verdict::Later(format!("{}: check the user name and the token", said())),
        403 => Verdict::Later(format!(
            "{}: check the token's permissions, the rate limit, and that the URL is https",
            said()
        )),
        300..400 | 404 | 405 | 415 => Verdict::Later(format!("{}: check the URL and --api", said())),
        _ => Verdict::Later(said()),
    }
}

fn wrong(why: String, errors: Option<&Value>, entries: &[&Entry]) -> Verdict {
    let mut meant = Vec::new();
    if let Some(errors) = errors {
        search(errors, entries, &mut meant);
    }
    meant.sort_unstable();
    meant.dedup();
    let params = errors.and_then(|e| e.get("params")).and_then(Value::as_object);
    let only_times = params.is_some_and(|p| {
        !p.is_empty() && p.keys().all(|key| matches!(key.as_str(), "measure_time" | "time"))
    });
    Verdict::Wrong { why, meant, only_times }
}

/// Looks for what names a measurement: its place in the list, its name in quotes, or its name as a field.
fn search(value: &Value, entries: &[&Entry], meant: &mut Vec<usize>) {
    match value {
        Value::String(text) => in_text(text, entries, meant),
        Value::Array(items) => items.iter().for_each(|item| search(item, entries, meant)),
        Value::Object(fields) => {
            for (key, field) in fields {
                in_text(key, entries, meant);
                match field {
                    Value::Object(places) if is_list(key) => {
                        let places = places.keys().filter_map(|k| k.parse::<usize>().ok());
                        meant.extend(places.filter(|&i| i < entries.len()));
                    }
                    Value::String(name) if matches!(key.as_str(), "name" | "metric" | "value") => {
                        by_name(name, entries, meant);
                    }
                    _ => {}
                }
                search(field, entries, meant);
            }
        }
        _ => {}
    }
}

fn is_list(word: &str) -> bool {
    matches!(word, "gauges" | "measurements")
}

fn in_text(text: &str, entries: &[&Entry], meant: &mut Vec<usize>) {
    for list in ["gauges", "measurements"] {
        for (at, _) in text.match_indices(list) {
            let rest = &text[at + list.len()..];
            let Some(rest) = rest.strip_prefix(['[', '.', '/']) else { continue };
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            meant.extend(rest[..digits].parse().ok().filter(|&i: &usize| i < entries.len()));
        }
    }
    for quote in ['\'', '"', '`'] {
        text.split(quote).skip(1).step_by(2).for_each(|quoted| by_name(quoted, entries, meant));
    }
}

fn by_name(name: &str, entries: &[&Entry], meant: &mut Vec<usize>) {
    let named = entries.iter().enumerate().filter(|(_, e)| e.name.eq_ignore_ascii_case(name));
    meant.extend(named.map(|(i, _)| i));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zibrato_core::frame::Kind;
    use zibrato_http::HeaderMap;

    use super::*;

    fn entries() -> Vec<Entry> {
        let entry = |name: &str| Entry {
            name: name.into(),
            time: 0,
            key: 0,
            kind: Kind::Gauge,
            json: String::new(),
            indices: Vec::new(),
        };
        ["cpu", "mem.used", "name", "it's"].map(entry).to_vec()
    }

    fn judged(status: u16, body: &str) -> Verdict {
        let entries = entries();
        let answer = Answer::new(status, HeaderMap::new(), body.into());
        judge(&answer, &entries.iter().collect::<Vec<_>>(), &Secret::new("token", "secret-token"))
    }

    fn meant(body: &str) -> Vec<usize> {
        match judged(400, body) {
            Verdict::Wrong { meant, .. } => meant,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn finds_who_is_meant() {
        let cases: [(&str, &[usize]); 11] = [
            (r#"{"errors":{"params":{"gauges[1].value":["is not numeric"]}}}"#, &[1]),
            (r#"{"errors":{"params":{"gauges.2.name":["is bad"],"gauges/0":["too"]}}}"#, &[0, 2]),
            (r#"{"errors":{"params":{"measurements":{"3":{"value":["is bad"]}}}}}"#, &[3]),
            (
                r#"{"errors":{"params":{"type":["'CPU' is a counter, but was submitted as different type"]}}}"#,
                &[0],
            ),
            (r#"{"errors":[{"param":"name","value":"mem.used","reason":"already taken"}]}"#, &[1]),
            (r#"{"errors":[{"name":"cpu","message":"no"},{"metric":"mem.used"}]}"#, &[0, 1]),
            (r#"{"errors":{"params":{"gauges[4].value":["out of range"]}}}"#, &[]),
            (r#"{"errors":{"params":{"name":["is not present"]}}}"#, &[]),
            (r#"{"errors":{"request":["something"]}}"#, &[]),
            (r#"{"errors":"'cpu'"}"#, &[0]),
            ("not JSON", &[]),
        ];
        for (body, expected) in cases {
            assert_eq!(meant(body), expected, "{body}");
        }
    }

    #[test]
    fn knows_when_only_times_are_wrong() {
        let only = |body| matches!(judged(400, body), Verdict::Wrong { only_times: true, .. });
        assert!(only(
            r#"{"errors":{"params":{"measure_time":["is too far in the past"]}},"request_time":1488585496}"#
        ));
        assert!(only(r#"{"errors":{"params":{"time":["is too far in the past"]}}}"#));
        assert!(!only(r#"{"errors":{"params":{"measure_time":["is too far"],"value":["is bad"]}}}"#));
        assert!(!only(r#"{"errors":{"params":{}}}"#));
    }

    #[test]
    fn reads_success() {
        for body in [
            "",
            "ok",
            "{}",
            r#"{"measurements":{"summary":{"total":1,"accepted":1,"failed":0}}}"#,
            r#"{"errors":[]}"#,
        ] {
            assert_eq!(judged(202, body), Verdict::Accepted, "{body}");
        }
        let failed = r#"{"measurements":{"summary":{"total":2,"accepted":1,"failed":1,"filtered":0}}}"#;
        assert!(matches!(judged(207, failed), Verdict::Wrong { .. }));
        let limited = r#"{"errors":{"request":["request was rate limited"]}}"#;
        assert!(matches!(judged(202, limited), Verdict::Later(_)));
    }

    proptest! {
        #[test]
        fn any_answer_has_a_verdict(status in 100..600u16, body in any::<String>(),
            errors in "(\\{\"errors\":)?[\\[\\]{}\",':a-z0-9. ]{0,60}") {
            judged(status, &body);
            judged(status, &errors);
        }
    }
}
