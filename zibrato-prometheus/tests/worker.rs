//! The programs, from frames to what Prometheus answers.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::path::Path;

use zibrato_trial::prometheus::{Prometheus, PrometheusSetup, value};
use zibrato_trial::{Fault, Instance, Proxy, Server, Setup, Totals, Traffic, Victoria, free_port, until};

fn worker(program: &str, traffic: &Traffic, state: &Path) -> Setup {
    Server::new(program)
        .args(["--broker", traffic.broker(), "--levels", "info", "--flush", "0.2", "-v", "--state"])
        .arg(state)
}

fn remote_write(traffic: &Traffic, state: &Path, port: u16) -> Setup {
    worker(env!("CARGO_BIN_EXE_zibrato-remote-write"), traffic, state).args([
        "--url",
        &format!("http://127.0.0.1:{port}/api/v1/write"),
        "--timeout",
        "5",
    ])
}

fn measure(app: &mut Instance, rounds: usize) {
    for _ in 0..rounds {
        app.measure();
        app.publish();
    }
}

fn near(what: &str, found: f64, wanted: f64, by: f64) -> Result<(), String> {
    let off = (found - wanted).abs() / wanted.abs().max(f64::MIN_POSITIVE);
    if off <= by { Ok(()) } else { Err(format!("{what} is {found}, not {wanted}")) }
}

/// Whether a server has all that was measured by sources `web1`.
fn has_all(port: u16, totals: &Totals, native: bool) -> Result<(), String> {
    let spread = |part: &str, metric: &str| match (native, part) {
        (true, part) => format!("histogram_{part}({metric}{{source=\"web1\"}})"),
        (false, part) => format!("{metric}_{part}{{source=\"web1\"}}"),
    };
    let seconds = totals.latency_sum() as f64 / 1e9;
    for (query, wanted) in [
        ("trial_requests_total{source=\"web1\"}".into(), totals.requests() as f64),
        ("trial_hits_total{source=\"web1\",code=\"200\",method=\"GET\"}".into(), totals.hits() as f64),
        ("trial_users{source=\"web1\"}".into(), f64::from(totals.users as i32)),
        ("trial_temperature{source=\"web1\"}".into(), totals.temperature),
        (spread("count", "trial_latency_seconds"), totals.latencies.len() as f64),
        (spread("count", "trial_sizes"), totals.sizes.len() as f64),
        (spread("sum", "trial_sizes"), totals.size_sum()),
    ] {
        near(&query, value(port, &query)?, wanted, 0.0)?;
    }
    let sum = spread("sum", "trial_latency_seconds");
    near(&sum, value(port, &sum)?, seconds, 1e-12)
}

fn has_quantiles(port: u16, totals: &Totals) {
    for q in [0.5, 0.9, 0.99] {
        let ask = |metric: &str| value(port, &format!("histogram_quantile({q}, {metric})")).unwrap();
        near("latency", ask("trial_latency_seconds"), totals.latency_quantile(q) / 1e9, 0.02).unwrap();
        near("sizes", ask("trial_sizes"), totals.size_quantile(q), 0.02).unwrap();
    }
}

fn until_all(app: &mut Instance, traffic: &Traffic, prometheus: &Prometheus) {
    until("the server has it all", || {
        app.publish();
        has_all(prometheus.port, &traffic.totals(), true)
    });
}

#[test]
fn scraped_totals_survive_instances_and_workers() {
    let (port, state) = (free_port(), tempfile::tempdir().unwrap());
    let setup = PrometheusSetup { targets: vec![port], native_histograms: true, ..Default::default() };
    let Some(prometheus) = setup.start() else { return };
    let traffic = Traffic::start();
    let mut worker = worker(env!("CARGO_BIN_EXE_zibrato-prometheus"), &traffic, state.path())
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .start();
    traffic.until_heard(|| value(prometheus.port, "trial_probe_total"));
    let (mut app, mut other) = (traffic.instance("web1"), traffic.instance("web1"));
    for _ in 0..3 {
        measure(&mut app, 20);
        measure(&mut other, 10);
        until("Prometheus has it all", || {
            app.publish();
            other.publish();
            has_all(prometheus.port, &traffic.totals(), true)
        });
        // What it said while nobody could hear it is told by the next one.
        worker.kill();
        measure(&mut app, 5);
        other.end();
        other = traffic.instance("web1");
        worker.start();
    }
    until_all(&mut app, &traffic, &prometheus);
    has_quantiles(prometheus.port, &traffic.totals());
    let fell = value(prometheus.port, "sum(resets({__name__=~\"trial_.*_total\"}[10m]))");
    assert_eq!(fell, Ok(0.0));
    worker.stop();
}

#[test]
fn written_totals_survive_bad_days() {
    let state = tempfile::tempdir().unwrap();
    let setup = PrometheusSetup { native_histograms: true, ..Default::default() };
    let Some(mut prometheus) = setup.start() else { return };
    let traffic = Traffic::start();
    let proxy = Proxy::start(prometheus.port);
    let mut worker = remote_write(&traffic, state.path(), proxy.port()).start();
    traffic.until_heard(|| value(prometheus.port, "trial_probe_total"));
    let (mut app, mut other) = (traffic.instance("web1"), traffic.instance("web1"));
    for fault in [Fault::Refuse, Fault::ResetAfter(300), Fault::LoseAnswers, Fault::Slow(20_000)] {
        proxy.set(fault);
        (0..10).for_each(|_| {
            measure(&mut app, 5);
            measure(&mut other, 5);
            std::thread::sleep(std::time::Duration::from_millis(50));
        });
        if fault == Fault::LoseAnswers {
            worker.kill();
            worker.start();
        }
        proxy.set(Fault::Pass);
        until("Prometheus has it all", || {
            app.publish();
            other.publish();
            has_all(prometheus.port, &traffic.totals(), true).map_err(|why| format!("after {fault:?}: {why}"))
        });
    }
    other.end();
    prometheus.server.stop();
    measure(&mut app, 20);
    prometheus.server.start();
    until_all(&mut app, &traffic, &prometheus);
    has_quantiles(prometheus.port, &traffic.totals());
    let fell = value(prometheus.port, "sum(resets({__name__=~\"trial_.*_total\"}[10m]))");
    assert_eq!(fell, Ok(0.0));
    worker.stop();
    let log = worker.log();
    let (began, ended) =
        (log.matches("the backend does not take").count(), log.matches("takes batches again").count());
    assert!(began <= 6 && ended <= began, "{log}");
    assert!(!state.path().join("dead-letters.jsonl").exists(), "{log}");
}

#[test]
fn a_wrong_password_is_said_once_and_can_be_put_right() {
    let state = tempfile::tempdir().unwrap();
    let setup = PrometheusSetup { native_histograms: false, password: true, ..Default::default() };
    let Some(prometheus) = setup.start() else { return };
    let (traffic, directory) = (Traffic::start(), tempfile::tempdir().unwrap());
    let file = directory.path().join("password");
    std::fs::write(&file, "wr0ng-one\n").unwrap();
    let mut worker = remote_write(&traffic, state.path(), prometheus.port)
        .args(["--username", "user", "--password-file", file.to_str().unwrap()])
        .start();
    traffic.until_heard(|| worker.log().contains("answered 401").then_some(()).ok_or(worker.log()));
    std::fs::write(&file, "secret\n").unwrap();
    let ask = |metric: &str| {
        let auth = [("Authorization", "Basic dXNlcjpzZWNyZXQ=")];
        let path = format!("/api/v1/query?query={metric}");
        let answer = zibrato_trial::http::request(prometheus.port, "GET", &path, &auth, "")?;
        answer.body.contains("\"value\"").then_some(()).ok_or(answer.body)
    };
    traffic.until_heard(|| ask("trial_probe_total"));
    let mut app = traffic.instance("web1");
    measure(&mut app, 5);
    until("classic histograms are there", || {
        app.publish();
        ask("trial_latency_seconds_count")
    });
    worker.stop();
    let log = worker.log();
    assert_eq!(log.matches("WARN").count(), 2, "one for the password, one for native histograms: {log}");
    assert!(log.contains("takes no native histograms") && log.contains("takes batches again"), "{log}");
    assert!(!log.contains("wr0ng-one"), "{log}");
}

#[test]
fn victoria_metrics_has_all_of_it_too() {
    let (state, Some(victoria)) = (tempfile::tempdir().unwrap(), Victoria::start()) else { return };
    let traffic = Traffic::start();
    let mut worker = remote_write(&traffic, state.path(), victoria.port()).start();
    let ask = |query: &str| {
        victoria.flush()?;
        value(victoria.port(), query)
    };
    traffic.until_heard(|| ask("trial_probe_total"));
    let mut app = traffic.instance("web1");
    measure(&mut app, 50);
    until("VictoriaMetrics has it all", || {
        app.publish();
        victoria.flush()?;
        has_all(victoria.port(), &traffic.totals(), false)
    });
    worker.stop();
}
