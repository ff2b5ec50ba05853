//! One request and its answer.

use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::rules::{Examined, Limits, Violation, examine};
use super::{Blame, Config, MOST_REQUESTS, MOST_VIOLATIONS, Request, Script, Shared, State, Step};
use crate::Api;

const MOST_BYTES: usize = 4 << 20;

type Response = hyper::Response<Full<Bytes>>;

/// Answers one request; an error closes the connection.
pub(super) async fn answer(
    shared: Arc<Shared>,
    request: hyper::Request<Incoming>,
) -> Result<Response, io::Error> {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, MOST_BYTES).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Ok(refused(413, "request", "body is too large")),
    };
    let api = match head.uri.path() {
        "/v1/metrics" => Api::Metrics,
        "/v1/measurements" => Api::Measurements,
        path => return Ok(by_hand(&shared, &head.method, path, &body)),
    };
    let header_text = |name| head.headers.get(name).and_then(|v| v.to_str().ok());
    let allowed = Allowed {
        method: head.method == Method::POST,
        user: header_text(header::AUTHORIZATION) == Some(&credentials(&shared)),
        json: header_text(header::CONTENT_TYPE)
            .and_then(|t| t.split(';').next())
            .is_some_and(|t| t.trim().eq_ignore_ascii_case("application/json")),
    };
    let wait = match shared.state().script.front() {
        Some(Step::Slow(wait)) => Some(*wait),
        _ => None,
    };
    if let Some(wait) = wait {
        tokio::time::sleep(wait).await;
    }
    let (mut record, response) = respond(&shared, api, &allowed, &body);
    record.path = head.uri.path().into();
    record.headers = head
        .headers
        .iter()
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    let mut state = shared.state();
    state.received += 1;
    if state.requests.len() == MOST_REQUESTS {
        state.requests.pop_front();
    }
    state.requests.push_back(record);
    drop(state);
    response
}

struct Allowed {
    method: bool,
    user: bool,
    json: bool,
}

fn respond(
    shared: &Shared,
    api: Api,
    allowed: &Allowed,
    body: &[u8],
) -> (Request, Result<Response, io::Error>) {
    let mut record = Request {
        path: String::new(),
        headers: Vec::new(),
        body: String::from_utf8_lossy(body).into_owned(),
        status: 0,
        violations: Vec::new(),
    };
    let mut state = shared.state();
    let step = state.script.pop_front().unwrap_or(Step::Accept);
    let request_level = |message: &str| Violation {
        entry: None,
        list: "request",
        parameter: "request".into(),
        name: None,
        message: message.into(),
    };
    let refusal = if !allowed.method {
        Some((405, "must be POST"))
    } else if !allowed.user {
        Some((401, "needs credentials that are known here"))
    } else if !allowed.json {
        Some((415, "must be application/json"))
    } else {
        None
    };
    if let Some((status, message)) = refusal {
        note(&mut state, &mut record, vec![request_level(message)]);
        record.status = status;
        return (record, Ok(refused(status, "request", message)));
    }

    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let examined = examine(api, body, &Limits { now, oldest: shared.config.oldest.as_secs() });
    note(&mut state, &mut record, examined.violations.clone());

    let scripted = match step {
        Step::Accept | Step::Slow(_) | Step::LoseAnswer => None,
        Step::Close => return (record, closed()),
        Step::Status(status) if status < 300 => Some(empty(status)),
        Step::Status(status) => Some(refused(status, "request", &format!("scripted {status}"))),
        Step::RetryAfter(status, seconds) => {
            let mut response = refused(status, "request", &format!("scripted {status}"));
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            Some(response)
        }
        Step::RateLimited(seconds) => {
            let mut response = refused(429, "request", "You have hit the API limit for measurements");
            limits(&mut response, 0, now + seconds);
            Some(response)
        }
        Step::Blame(entry) => Some(bad(
            shared.config.blame,
            &[Violation {
                entry: Some(entry),
                list: list(api),
                parameter: "value".into(),
                name: name_at(api, body, entry),
                message: "is not wanted".into(),
            }],
        )),
    };
    if let Some(response) = scripted {
        record.status = response.status().as_u16();
        return (record, Ok(response));
    }

    let mut wrong = examined.violations.clone();
    for checked in &examined.good {
        if state.poisoned.contains(&checked.series.name) {
            wrong.push(Violation {
                entry: Some(checked.entry),
                list: list(api),
                parameter: "type".into(),
                name: Some(checked.series.name.clone()),
                message: "is a counter, but was submitted as different type".into(),
            });
        }
    }
    let partial =
        shared.config.partial && api == Api::Measurements && wrong.iter().all(|v| v.entry.is_some());
    let mut response = if wrong.is_empty() || partial {
        let entries = examined.entries;
        let stored = put(&mut state, examined, &wrong);
        match api {
            Api::Metrics => empty(200),
            Api::Measurements => summary(entries, stored, &wrong),
        }
    } else {
        bad(shared.config.blame, &wrong)
    };
    limits(&mut response, 599_999, now + 60);
    if step == Step::LoseAnswer {
        return (record, closed());
    }
    record.status = response.status().as_u16();
    (record, Ok(response))
}

fn note(state: &mut State, record: &mut Request, violations: Vec<Violation>) {
    let room = MOST_VIOLATIONS.saturating_sub(state.violations.len());
    state.violations.extend(violations.iter().take(room).map(Violation::to_string));
    record.violations = violations;
}

fn put(state: &mut State, examined: Examined, wrong: &[Violation]) -> usize {
    let mut stored = 0;
    for checked in examined.good {
        if !wrong.iter().any(|v| v.entry == Some(checked.entry)) {
            state.store.put(checked.series, checked.time, checked.figures);
            stored += 1;
        }
    }
    stored
}

fn list(api: Api) -> &'static str {
    match api {
        Api::Metrics => "gauges",
        Api::Measurements => "measurements",
    }
}

fn name_at(api: Api, body: &[u8], entry: usize) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    Some(body.get(list(api))?.get(entry)?.get("name")?.as_str()?.to_owned())
}

fn credentials(shared: &Shared) -> String {
    let Config { username, token, .. } = &shared.config;
    format!("Basic {}", STANDARD.encode(format!("{username}:{token}")))
}

fn closed() -> Result<Response, io::Error> {
    Err(io::Error::new(io::ErrorKind::ConnectionAborted, "closed as told"))
}

fn with_json(status: u16, body: &Value) -> Response {
    let mut response = empty(status);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json;charset=utf-8"));
    *response.body_mut() = Full::new(Bytes::from(body.to_string()));
    response
}

fn empty(status: u16) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

fn refused(status: u16, kind: &str, message: &str) -> Response {
    with_json(status, &json!({"errors": {kind: [message]}}))
}

fn bad(blame: Blame, wrong: &[Violation]) -> Response {
    let mut params = serde_json::Map::new();
    for violation in wrong {
        let (key, message) = match (blame, violation.entry, &violation.name) {
            (Blame::Entry, Some(entry), _) => {
                (format!("{}[{entry}].{}", violation.list, violation.parameter), violation.message.clone())
            }
            (Blame::Name, Some(_), Some(name)) => {
                (violation.parameter.clone(), format!("'{name}' {}", violation.message))
            }
            _ => (violation.parameter.clone(), violation.message.clone()),
        };
        if let Value::Array(messages) = params.entry(key).or_insert_with(|| json!([])) {
            messages.push(message.into());
        }
    }
    with_json(400, &json!({"errors": {"params": params}}))
}

fn summary(entries: usize, stored: usize, wrong: &[Violation]) -> Response {
    let errors: Vec<Value> =
        wrong.iter().map(|v| json!({"param": v.parameter, "value": v.name, "reason": v.message})).collect();
    let failed = entries - stored;
    let mut body = json!({"measurements": {"summary":
        {"total": entries, "accepted": stored, "failed": failed, "filtered": 0}}});
    if !errors.is_empty() {
        body["errors"] = errors.into();
    }
    with_json(if failed > 0 { 207 } else { 202 }, &body)
}

fn limits(response: &mut Response, remaining: u64, reset: u64) {
    let text = format!("limit=600000,remaining={remaining},reset={reset}");
    if let Ok(value) = header::HeaderValue::from_str(&text) {
        for name in ["x-librato-ratelimit-agg", "x-librato-ratelimit-std"] {
            response.headers_mut().insert(name, value.clone());
        }
    }
}

fn by_hand(shared: &Shared, method: &Method, path: &str, body: &[u8]) -> Response {
    match (method, path) {
        (&Method::GET, "/totals") => {
            let totals: Vec<Value> = shared
                .state()
                .store
                .totals()
                .into_iter()
                .map(|((name, source), t)| {
                    json!({"name": name, "source": source, "measurements": t.measurements,
                        "value": number(t.value), "count": t.count, "sum": number(t.sum),
                        "min": t.min, "max": t.max})
                })
                .collect();
            with_json(200, &Value::Array(totals))
        }
        (&Method::GET, "/violations") => with_json(200, &json!(shared.state().violations)),
        (&Method::POST, "/script") => match std::str::from_utf8(body).unwrap_or("?").parse::<Script>() {
            Ok(script) => {
                shared.state().script.extend(script);
                empty(204)
            }
            Err(why) => refused(400, "request", &why.to_string()),
        },
        _ => refused(404, "request", "is not known here"),
    }
}

fn number(decimal: super::Decimal) -> Value {
    match decimal.whole().and_then(|w| i64::try_from(w).ok()) {
        Some(whole) => whole.into(),
        None => decimal.value().into(),
    }
}
