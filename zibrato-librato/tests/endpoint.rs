//! The endpoint itself: it takes what Librato's documentation allows, and nothing else.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use support::*;
use zibrato_librato::endpoint::{Config, Endpoint};

/// Sends raw HTTP and returns status and body; status 0 where the connection was closed.
fn request(endpoint: &Endpoint, head: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(endpoint.address()).unwrap();
    let length = body.len();
    write!(stream, "{head}\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

const LOGIN: &str = "Authorization: Basic bWVAZXhhbXBsZS5jb206dG9r\r\nContent-Type: application/json";

fn post(endpoint: &Endpoint, path: &str, body: &str) -> (u16, String) {
    request(endpoint, &format!("POST {path} HTTP/1.1\r\n{LOGIN}"), body)
}

#[test]
fn takes_what_known_clients_send() {
    let endpoint = endpoint();
    let old = endpoint_time();
    let bodies = [
        (
            "/v1/metrics",
            r#"{"gauges": [{"name": "temp", "value": 21.5, "description": "room", "source": "web.1", "period": 60, "attributes": {"display_units_short": "C"}}], "counters": []}"#,
        ),
        ("/v1/metrics", r#"{"gauges": [], "counters": [{"name": "reqs", "value": 42, "source": "web.1"}]}"#),
        (
            "/v1/metrics",
            r#"{"gauges": [{"count": 3, "sum": 12, "min": 1, "max": 9, "name": "lat"}], "source": "web.1", "measure_time": NOW}"#,
        ),
        ("/v1/metrics", r#"{"gauges":{"cpu":{"value":1},"0":{"name":"mem","value":2}}}"#),
        (
            "/v1/measurements",
            r#"{"measurements": [{"name": "cpu", "value": 1.5, "tags": {"host": "web.1", "region": "eu"}}]}"#,
        ),
        (
            "/v1/measurements",
            r#"{"measurements": [{"count": 3, "sum": 12, "min": 1, "max": 9, "name": "lat"}], "tags": {"source": "web.1"}, "time": NOW}"#,
        ),
    ];
    for (path, body) in bodies {
        let (status, answer) = post(&endpoint, path, &body.replace("NOW", &old.to_string()));
        assert!(status == 200 || status == 202, "{body}: {status} {answer}");
    }
    assert_eq!(endpoint.violations(), Vec::<String>::new());
    let latency = endpoint.total("LAT", "web.1");
    assert_eq!((latency.count, latency.sum.whole(), latency.measurements), (6, Some(24), 2));
    assert_eq!(endpoint.total("mem", "").value.whole(), Some(2));
}

fn endpoint_time() -> u64 {
    now() - 60
}

#[test]
fn refuses_what_the_documentation_forbids() {
    let many = (0..301).map(|i| format!(r#"{{"name":"m{i}","value":1}}"#)).collect::<Vec<_>>().join(",");
    let long = "x".repeat(256);
    let gauges = [
        (r#"{"value":1}"#, "name is not present"),
        (r#"{"name":5,"value":1}"#, "name is not a string"),
        (r#"{"name":"","value":1}"#, "name has 0 characters"),
        (r#"{"name":"a b","value":1}"#, "name has the character ' '"),
        (r#"{"name":"LONG","value":1}"#, "name has 256 characters"),
        (r#"{"name":"a","value":1,"source":"web 1"}"#, "source has the character"),
        (r#"{"name":"a","value":1,"source":"All"}"#, "source is reserved"),
        (r#"{"name":"a"}"#, "value is not present"),
        (r#"{"name":"a","value":"1"}"#, "value is not a finite number"),
        (r#"{"name":"a","value":null}"#, "value is not a finite number"),
        (r#"{"name":"a","value":1e127}"#, "value has an exponent above 126"),
        (r#"{"name":"a","value":1,"count":1,"sum":1}"#, "count is not allowed beside value"),
        (r#"{"name":"a","count":3}"#, "value is not present"),
        (r#"{"name":"a","count":0,"sum":0}"#, "count is not a positive integer"),
        (r#"{"name":"a","count":1.5,"sum":0}"#, "count is not a positive integer"),
        (r#"{"name":"a","count":1,"sum":1,"min":2,"max":1}"#, "min is above max"),
        (r#"{"name":"a","value":1,"measure_time":"1795289340"}"#, "measure_time is not an integer"),
        (r#"{"name":"a","value":1,"measure_time":1.5}"#, "measure_time is not an integer"),
        (r#"{"name":"a","value":1,"measure_time":1000000000}"#, "measure_time is too far in the past"),
        (r#"{"name":"a","value":1,"period":0}"#, "period is not a positive integer"),
        (r#"{"name":"a","value":1,"tags":{}}"#, "tags is not a known parameter"),
        (r#"{"name":"a","value":1},{"name":"A","value":1}"#, "repeats series and time"),
        ("", "must have at least one measurement"),
        ("MANY", "has 301 measurements"),
    ];
    for (gauge, says) in gauges {
        let endpoint = endpoint();
        let gauge = gauge.replace("LONG", &long).replace("MANY", &many);
        let measure_time = now();
        let body = format!(r#"{{"measure_time":{measure_time},"gauges":[{gauge}]}}"#);
        let (status, answer) = post(&endpoint, "/v1/metrics", &body);
        assert_eq!(status, 400, "{gauge}: {answer}");
        let violations = endpoint.violations().join("\n");
        assert!(violations.contains(says), "{gauge}: {violations}");
        assert_eq!(endpoint.totals().len(), 0);
    }
}

#[test]
fn refuses_tags_that_the_documentation_forbids() {
    let tags = [
        ("", "tags is not present"),
        (r#","tags":{"a":5}"#, "tags is not an object of strings"),
        (r#","tags":{"a b":"c"}"#, "tags has the character ' '"),
        (r#","tags":{"a":"b,c"}"#, "tags has the character ','"),
        (r#","tags":{"a":""}"#, "tags has 0 characters"),
        (r#","tags":{"a":"x","A":"y"}"#, "two spellings"),
        (r#","tags":{"MANY"}"#, "more than 50 names"),
        (r#","tags":{},"sum_squares":1"#, "sum_squares is not a known parameter"),
    ];
    let many = (0..51).map(|i| format!(r#"t{i}":"v"#)).collect::<Vec<_>>().join(r#"",""#);
    for (tags, says) in tags {
        let endpoint = endpoint();
        let body = format!(r#"{{"measurements":[{{"name":"a","value":1{}}}]}}"#, tags.replace("MANY", &many));
        assert_eq!(post(&endpoint, "/v1/measurements", &body).0, 400, "{body}");
        let violations = endpoint.violations().join("\n");
        assert!(violations.contains(says), "{tags}: {violations}");
    }
}

#[test]
fn refuses_strangers_and_other_forms() {
    let endpoint = endpoint();
    let body = r#"{"gauges":[{"name":"a","value":1}]}"#;
    let json = "Content-Type: application/json";
    let cases = [
        (format!("POST /v1/metrics HTTP/1.1\r\n{json}"), 401),
        (format!("POST /v1/metrics HTTP/1.1\r\n{json}\r\nAuthorization: Basic bWU6bm8="), 401),
        (format!("PUT /v1/metrics HTTP/1.1\r\n{LOGIN}"), 405),
        ("POST /v1/metrics HTTP/1.1\r\nAuthorization: Basic bWVAZXhhbXBsZS5jb206dG9r".into(), 415),
        (format!("POST /v2/metrics HTTP/1.1\r\n{LOGIN}"), 404),
        (format!("POST /v1/metrics HTTP/1.1\r\n{LOGIN};charset=utf-8"), 200),
    ];
    for (head, status) in cases {
        assert_eq!(request(&endpoint, &head, body).0, status, "{head}");
    }
    assert_eq!(post(&endpoint, "/v1/metrics", "not JSON").0, 400);
    assert_eq!(endpoint.total("a", "").measurements, 1);
}

#[test]
fn overwrites_by_series_and_time() {
    let endpoint = endpoint();
    let body = |name: &str, time: u64, value: u64| {
        format!(r#"{{"gauges":[{{"name":"{name}","source":"s","measure_time":{time},"value":{value}}}]}}"#)
    };
    let t = now();
    for (name, time, value) in [("a", t, 1), ("A", t, 5), ("a", t + 1, 2)] {
        assert_eq!(post(&endpoint, "/v1/metrics", &body(name, time, value)).0, 200);
    }
    let total = endpoint.total("a", "s");
    assert_eq!((total.measurements, total.value.whole(), endpoint.overwritten()), (2, Some(7), 1));
    assert_eq!(endpoint.stored().len(), 2);
}

#[test]
fn serves_by_hand() {
    let endpoint = Endpoint::start(Config::default()).unwrap();
    let body = r#"{"gauges":[{"name":"a","source":"s","value":3}]}"#;
    assert_eq!(request(&endpoint, "POST /script HTTP/1.1", "503,lose").0, 204);
    assert_eq!(request(&endpoint, "POST /script HTTP/1.1", "nonsense").0, 400);
    assert_eq!(post(&endpoint, "/v1/metrics", body).0, 503);
    assert_eq!(post(&endpoint, "/v1/metrics", body).0, 0);
    let (status, totals) = request(&endpoint, "GET /totals HTTP/1.1", "");
    assert_eq!(status, 200);
    let totals: serde_json::Value = serde_json::from_str(&totals).unwrap();
    assert_eq!((&totals[0]["name"], &totals[0]["value"]), (&"a".into(), &3.into()));
    assert_eq!(request(&endpoint, "GET /violations HTTP/1.1", "").1, "[]");
}
