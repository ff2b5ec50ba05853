//! The scrape endpoint, scraped by real servers.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::io::Write as _;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;

use support::*;
use zibrato_prometheus::scrape::{Options, Prometheus};
use zibrato_trial::http::request;
use zibrato_trial::prometheus::{PrometheusSetup, query, value};
use zibrato_trial::{Victoria, free_port, installed, until};
use zibrato_worker::{Accepted, Backend as _, Measurement};

const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0";
const PROTOBUF: &str =
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

struct Endpoint {
    backend: Prometheus,
    port: u16,
}

impl Endpoint {
    fn start(more: &[&str]) -> Endpoint {
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let backend = Prometheus::new(options::<Options>(&[&["--listen", &listen], more].concat())).unwrap();
        Endpoint { backend, port }
    }

    fn put(&mut self, measurements: Vec<Measurement>) {
        let batch = batch(&self.backend, measurements);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(self.backend.send(&batch)), Ok(Accepted::All));
    }

    fn get(&self, accept: &str) -> String {
        let answer = request(self.port, "GET", "/metrics", &[("Accept", accept)], "").unwrap();
        assert_eq!(answer.status, 200);
        answer.body
    }
}

/// Durations in nanoseconds and sizes, whose quantiles are known.
fn spread() -> (Vec<u64>, Vec<f64>) {
    let times = (0..5000u64).map(|i| 1_000_000 + (i * 7919 % 5000).pow(2) * 40).collect();
    let sizes = (0..3000u64).map(|i| f64::from((i * 7919 % 3000) as u32) * 0.25 + 1.0).collect();
    (times, sizes)
}

#[test]
fn a_total_does_not_fall_when_batches_come_that_are_older_than_what_was_restored() {
    let mut endpoint = Endpoint::start(&[]);
    let mut older = batch(&endpoint.backend, vec![counter("hits", 3), counter("gone", 1)]);
    older.time -= 1_000_000_000;
    let restored = batch(&endpoint.backend, vec![counter("hits", 5)]);
    endpoint.backend.restore(restored);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(endpoint.backend.send(&older)), Ok(Accepted::All));
    let text = endpoint.get("text/plain");
    let has = |name: &str, value: &str| {
        text.lines().any(|line| line.starts_with(name) && line.ends_with(&format!(" {value}")))
    };
    assert!(has("hits_total{", "5") && has("gone_total{", "1"), "{text}");
    endpoint.put(vec![counter("hits", 6)]);
    assert!(endpoint.get("text/plain").contains("} 6\n"));
}

#[test]
fn all_servers_read_the_same_totals_and_quantiles() {
    let mut endpoint = Endpoint::start(&[]);
    let native =
        PrometheusSetup { targets: vec![endpoint.port], native_histograms: true, ..Default::default() };
    let text = PrometheusSetup { targets: vec![endpoint.port], ..Default::default() };
    let (Some(native), Some(text), Some(victoria)) =
        (native.start(), text.start(), Victoria::scraping(&[endpoint.port]))
    else {
        return;
    };
    let (times, sizes) = spread();
    endpoint.put(vec![
        counter("app::calls", 9_007_199_254_740_993),
        updown("app.users", -5),
        gauge("app.load", 0.25),
        point("app.deploys", now(), 17.0),
        timer("app::time", &times),
        distribution("app.sizes", &sizes),
        distribution("app.signed", &[-8.0, -4.0, 0.0, 0.0, 2.0]),
    ]);
    let labels = "source=\"web1\",code=\"200\"";
    for (name, port) in [("native", native.port), ("text", text.port), ("victoria", victoria.port())] {
        let calls = format!("app_calls_total{{{labels}}}");
        until(&format!("{name} has scraped"), || {
            victoria.flush()?;
            value(port, &calls)
        });
        // Prometheus has floats only.
        assert_eq!(value(port, &calls), Ok(9_007_199_254_740_992.0), "{name}");
        assert_eq!(value(port, "app_users"), Ok(-5.0), "{name}");
        assert_eq!(value(port, "app_load{source=\"web1\"}"), Ok(0.25), "{name}");
        assert_eq!(value(port, "app_deploys"), Ok(17.0), "{name}");
        assert!(value(port, "time()-zibrato_last_batch_timestamp_seconds").unwrap() < 120.0, "{name}");
    }
    let true_times: Vec<f64> = times.iter().map(|&t| t as f64 / 1e9).collect();
    for (metric, truth) in [("app_time_seconds", &true_times), ("app_sizes", &sizes)] {
        let port = native.port;
        assert_eq!(value(port, &format!("histogram_count({metric})")), Ok(truth.len() as f64));
        let sum = value(port, &format!("histogram_sum({metric})")).unwrap();
        assert!((sum / truth.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{sum}");
        for q in [0.5, 0.9, 0.99] {
            let found = value(port, &format!("histogram_quantile({q}, {metric})")).unwrap();
            let off = found / quantile(truth, q) - 1.0;
            assert!(off.abs() < 0.02, "{metric} {q}: {found} is {off} off");
        }
        for port in [text.port, victoria.port()] {
            assert_eq!(value(port, &format!("{metric}_count")), Ok(truth.len() as f64));
            let inside = truth.iter().filter(|&&v| v <= 0.25 || metric == "app_sizes" && v <= 250.0).count();
            let bound = if metric == "app_sizes" { "250(\\\\.0)?" } else { "0.25" };
            let below = value(port, &format!("{metric}_bucket{{le=~\"{bound}\"}}")).unwrap();
            assert!((below / inside as f64 - 1.0).abs() < 0.02, "{below} {inside}");
        }
    }
    // Zero and what is below it.
    assert_eq!(value(native.port, "histogram_fraction(-10, -3, app_signed)"), Ok(0.4));
    assert_eq!(value(native.port, "histogram_count(app_signed)"), Ok(5.0));
    // What is known of them.
    let metadata = zibrato_trial::http::get(text.port, "/api/v1/metadata").unwrap();
    for expected in [
        r#""app_calls":[{"type":"counter","help":"What app::calls is.","unit":""}]"#,
        r#""app_time_seconds":[{"type":"histogram","help":"What app::time is.","unit":"seconds"}]"#,
        r#""app_users":[{"type":"gauge","help":"What app.users is.","unit":""}]"#,
    ] {
        assert!(metadata.contains(expected), "{expected} is not in {metadata}");
    }
}

#[test]
fn whatever_is_measured_the_scrape_stands() {
    let mut endpoint = Endpoint::start(&[]);
    let setup = PrometheusSetup { targets: vec![endpoint.port], ..Default::default() };
    let native = PrometheusSetup { native_histograms: true, ..setup.clone() };
    let (Some(text), Some(native)) = (setup.start(), native.start()) else { return };
    let victoria = Victoria::scraping(&[endpoint.port]).unwrap();
    let hostile = hostile();
    let count = hostile.len();
    endpoint.put(hostile);
    for port in [text.port, native.port] {
        until("it was scraped", || {
            let targets = zibrato_trial::http::get(port, "/api/v1/targets")?;
            assert!(!targets.contains("\"health\":\"down\""), "{targets}");
            value(port, "largest").map_err(|why| format!("{why}: {targets}"))
        });
        assert_eq!(
            value(port, "clash_seconds_distribution_count or histogram_count(clash_seconds_distribution)"),
            Ok(1.0)
        );
        assert_eq!(value(port, "clash_seconds_sum_counter_total"), Ok(1.0));
        assert_eq!(value(port, "most_total"), Ok(i64::MAX as f64));
        let labels = query(port, "labels_total").unwrap();
        let label = |name: &str| labels[0].labels.get(name).cloned();
        assert_eq!(label("a_b").as_deref(), Some("1;2"));
        assert_eq!(label("_name_").as_deref(), Some("evil"));
        assert_eq!(label("tag_le").as_deref(), Some("1"));
        assert_eq!(label("_").as_deref(), Some("\"\\\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{2028}} # EOF"));
    }
    until("VictoriaMetrics has it", || {
        victoria.flush()?;
        value(victoria.port(), "labels_total")
    });
    // Every family is there once, by a name of its own.
    let exposed = endpoint.get(OPENMETRICS);
    let mut names: Vec<&str> = exposed.lines().filter(|line| line.starts_with("# TYPE ")).collect();
    assert_eq!(names.len(), count);
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(exposed.ends_with("\n# EOF\n"));
}

#[test]
fn promtool_finds_no_fault() {
    if !installed("promtool", "apt-get install prometheus") {
        return;
    }
    let mut endpoint = Endpoint::start(&[]);
    let (times, sizes) = spread();
    endpoint.put(vec![
        counter("app::calls", 5),
        updown("app.users", -5),
        gauge("app.load", 0.25),
        timer("app::time", &times),
        distribution("app.sizes", &sizes),
    ]);
    let check = |text: &str| {
        let mut promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = promtool.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(check(&endpoint.get("text/plain")), (Some(0), String::new()));
    endpoint.put(hostile());
    let (code, said) = check(&endpoint.get("text/plain"));
    // 3 is for matters of taste, of which there are some; 1 would be an error.
    assert_eq!(code, Some(3), "{said}");
}

#[test]
fn answers_are_what_was_asked_for() {
    let mut endpoint = Endpoint::start(&[]);
    let ask =
        |method, path, headers: &[(&str, &str)]| request(endpoint.port, method, path, headers, "").unwrap();
    assert_eq!(ask("GET", "/-/ready", &[]).status, 503);
    assert_eq!(ask("GET", "/-/healthy", &[]).status, 200);
    let empty = ask("GET", "/metrics", &[("Accept", OPENMETRICS)]);
    assert_eq!((empty.status, &*empty.body), (200, "# EOF\n"));
    endpoint.put(vec![counter("a", 1)]);
    let ask =
        |method, path, headers: &[(&str, &str)]| request(endpoint.port, method, path, headers, "").unwrap();
    assert_eq!(ask("GET", "/-/ready", &[]).status, 200);
    assert!(ask("GET", "/", &[]).body.contains("<a href=\"/metrics\">"));
    assert_eq!(ask("GET", "/nowhere", &[]).status, 404);
    assert_eq!(ask("POST", "/metrics", &[]).status, 405);
    let head = ask("HEAD", "/metrics", &[]);
    assert_eq!((head.status, &*head.body), (200, ""));
    for (accept, content_type) in [
        (OPENMETRICS, "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (
            PROTOBUF,
            "content-type: application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
        ),
        ("*/*", "content-type: text/plain; version=0.0.4; charset=utf-8"),
    ] {
        let answer = ask("GET", "/metrics", &[("Accept", accept)]);
        assert!(answer.head.contains(content_type), "{}", answer.head);
        assert!(!answer.head.contains("content-encoding"));
        let answer = ask("GET", "/metrics", &[("Accept", accept), ("Accept-Encoding", "gzip")]);
        assert!(answer.head.contains("content-encoding: gzip"), "{}", answer.head);
    }
    assert_eq!(
        endpoint.get("text/plain").lines().take(3).collect::<Vec<_>>(),
        ["# HELP a_total What a is.", "# TYPE a_total counter", "a_total{code=\"200\",source=\"web1\"} 1"]
    );
    assert_eq!(
        endpoint.get(OPENMETRICS).lines().take(4).collect::<Vec<_>>(),
        [
            "# TYPE a counter",
            "# HELP a What a is.",
            "a_total{code=\"200\",source=\"web1\"} 1",
            "a_created{code=\"200\",source=\"web1\"} 1795289340.000",
        ]
    );
}

#[test]
fn series_disappear_when_nobody_has_them() {
    let mut endpoint = Endpoint::start(&["--stale", "1"]);
    endpoint.put(vec![counter("ended", 1), counter("running", 1)]);
    assert!(endpoint.get("").contains("\nended_total"));
    until("the series are gone", || match endpoint.get("") {
        text if text.contains("ended_total") => Err(text),
        _ => Ok(()),
    });
    endpoint.put(vec![counter("running", 2)]);
    let text = endpoint.get("");
    assert!(
        text.contains("running_total{code=\"200\",source=\"web1\"} 2\n") && !text.contains("ended"),
        "{text}"
    );
    endpoint.put(vec![counter("ended", 3)]);
    assert!(endpoint.get("").contains("\nended_total{code=\"200\",source=\"web1\"} 3\n"));
}

#[test]
fn totals_are_restored_before_anything_is_heard() {
    let mut endpoint = Endpoint::start(&[]);
    let totals = batch(&endpoint.backend, vec![counter("a", 41), timer("t", &[5])]);
    endpoint.backend.restore(totals);
    assert!(endpoint.get("").contains("\na_total{code=\"200\",source=\"web1\"} 41\n"));
    assert_eq!(request(endpoint.port, "GET", "/-/ready", &[], "").unwrap().status, 200);
}

#[test]
fn many_scrapes_at_once_get_one_snapshot_each() {
    let mut endpoint = Endpoint::start(&[]);
    let mut round = 0;
    let mut put = |endpoint: &mut Endpoint| {
        round += 1;
        endpoint.put((0..2000).map(|i| counter(&format!("c{i}"), round)).collect());
    };
    put(&mut endpoint);
    let port = endpoint.port;
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let scrapers: Vec<_> = (0..4)
        .map(|_| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut seen = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let text = request(port, "GET", "/metrics", &[], "").unwrap().body;
                    let values = text.lines().filter(|line| line.starts_with('c'));
                    let mut values: Vec<&str> = values.filter_map(|line| line.split(' ').nth(1)).collect();
                    assert_eq!(values.len(), 2000);
                    values.dedup();
                    assert_eq!(values.len(), 1, "{values:?}");
                    seen += 1;
                }
                seen
            })
        })
        .collect();
    (0..20).for_each(|_| put(&mut endpoint));
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(scrapers.into_iter().map(|scraper| scraper.join().unwrap()).sum::<u32>() > 0);
}

#[test]
fn readers_that_stop_keep_nobody_out() {
    let mut endpoint = Endpoint::start(&[]);
    // More than what buffers of the system take.
    endpoint.put((0..100_000).map(|i| counter(&format!("c{i}"), 1)).collect());
    let ask = |request: &[u8]| {
        let mut stream = TcpStream::connect(("127.0.0.1", endpoint.port)).unwrap();
        // The other end may have closed it for a later one already.
        let _ = stream.write_all(request);
        stream
    };
    let _readers: Vec<TcpStream> = (0..400)
        .map(|number| match number % 5 {
            0 => ask(b"GET /metrics HTTP/1.1\r\nAccept-"),
            1 => ask(b"GET / HTTP/1.1\r\nConnection: keep-alive\r\n\r\n"),
            2 => ask(b""),
            _ => ask(b"GET /metrics HTTP/1.1\r\n\r\n"),
        })
        .collect();
    let text = endpoint.get("text/plain");
    assert_eq!(text.lines().filter(|line| line.starts_with('c')).count(), 100_000);
}

#[test]
fn an_address_in_use_is_said_at_once() {
    let endpoint = Endpoint::start(&[]);
    let listen = format!("127.0.0.1:{}", endpoint.port);
    let why = Prometheus::new(options::<Options>(&["--listen", &listen])).unwrap_err().to_string();
    assert!(why.starts_with(&format!("listen at {listen}: ")) && why.ends_with("with --listen"), "{why}");
    drop(endpoint);
    assert!(Prometheus::new(options::<Options>(&["--listen", &listen])).is_ok());
}
