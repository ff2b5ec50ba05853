//! The program, from frames to what influxd and VictoriaMetrics have, on good days and on bad ones.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::path::Path;

use serde_json::Value as Json;
use support::{rows, value};
use zibrato_trial::{Influx, Instance, Proxy, Server, Setup, Totals, Traffic, Victoria, until};

/// A worker that writes to a port as the database's writer.
fn worker(traffic: &Traffic, port: u16, directory: &Path) -> Setup {
    let password = directory.join("password");
    std::fs::write(&password, Influx::PASSWORD).unwrap();
    plain_worker(traffic, port, directory)
        .args(["--database", "metrics", "--username", Influx::WRITER, "--password-file"])
        .arg(password)
}

fn plain_worker(traffic: &Traffic, port: u16, directory: &Path) -> Setup {
    Server::new(env!("CARGO_BIN_EXE_zibrato-influx"))
        .args(["--broker", traffic.broker(), "--levels", "info", "--flush", "0.1", "--timeout", "1"])
        .args(["--url", &format!("http://127.0.0.1:{port}")])
        .arg("--state")
        .arg(directory.join("state"))
}

/// Measures for a while.
fn measure(app: &mut Instance) {
    for _ in 0..50 {
        app.measure();
    }
    app.publish();
}

/// The totals that are compared, as texts.
fn wanted(totals: &Totals) -> Vec<String> {
    let counts = [totals.requests(), totals.hits(), totals.users];
    let counts = counts.into_iter().chain([totals.latencies.len() as i64, totals.sizes.len() as i64]);
    let floats = [totals.latency_sum() as f64 / 1e9, totals.size_sum(), totals.temperature];
    counts.map(|n| n.to_string()).chain(floats.map(|f| format!("{f:.9}"))).collect()
}

fn same(found: &[String], wanted: &[String]) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("{found:?} is not {wanted:?}")) }
}

fn in_influx(influx: &Influx, totals: &Totals) -> Result<(), String> {
    let ask = |what: &str, metric: &str| -> Result<Json, String> {
        let query = format!("SELECT {what} FROM \"{metric}\" WHERE source = 'web1'");
        let answer = influx.query(&query)?;
        Ok(value(&answer, what.split('(').next().unwrap()))
    };
    let hits = "SELECT sum(counter) FROM \"trial.hits\" WHERE code = '200' AND method = 'GET'";
    let whole = [
        ask("sum(counter)", "trial.requests")?,
        value(&influx.query(hits)?, "sum"),
        ask("sum(updown)", "trial.users")?,
        ask("sum(timer_count)", "trial.latency")?,
        ask("sum(distribution_count)", "trial.sizes")?,
    ];
    let floats = [
        ask("sum(timer_sum)", "trial.latency")?,
        ask("sum(distribution_sum)", "trial.sizes")?,
        ask("last(gauge)", "trial.temperature")?,
    ];
    let floats = floats.map(|f| format!("{:.9}", f.as_f64().unwrap_or(f64::NAN)));
    let found: Vec<String> = whole.into_iter().map(|n| n.to_string()).chain(floats).collect();
    same(&found, &wanted(totals))
}

#[test]
fn totals_are_exact_through_bad_days() {
    let Some(mut influx) = Influx::start() else { return };
    let (traffic, directory) = (Traffic::start(), tempfile::tempdir().unwrap());
    let proxy = Proxy::start(influx.port());
    let mut worker = worker(&traffic, proxy.port(), directory.path()).start();
    traffic.until_heard(|| {
        let probes = rows(&influx.query("SELECT * FROM \"trial.probe\"")?);
        (!probes.is_empty()).then_some(()).ok_or_else(|| "no probe".to_owned())
    });
    let mut app = traffic.instance("web1");
    measure(&mut app);
    let all_there = |what: &str, influx: &Influx, app: &mut Instance| {
        until(what, || {
            app.publish();
            in_influx(influx, &traffic.totals())
        });
    };
    all_there("a good day is over", &influx, &mut app);

    let outages = |worker: &Server| worker.log().matches("the backend does not take").count();
    let outage = |worker: &Server, before: usize, says: &str, app: &mut Instance| {
        until("the worker complains", || {
            measure(app);
            let log = worker.log();
            (outages(worker) == before + 1 && log.contains(says)).then_some(()).ok_or(log)
        });
    };
    proxy.refuse();
    outage(&worker, 0, "refused", &mut app);
    proxy.pass();
    all_there("nobody listened", &influx, &mut app);

    proxy.hang();
    outage(&worker, 1, "did not answer in time", &mut app);
    proxy.pass();
    all_there("nothing moved", &influx, &mut app);

    proxy.reset_after(100);
    outage(&worker, 2, "no answer from", &mut app);
    proxy.pass();
    all_there("connections broke half-way", &influx, &mut app);

    proxy.lose_answers();
    outage(&worker, 3, "no answer from", &mut app);
    proxy.pass();
    all_there("answers were lost", &influx, &mut app);

    // Slow, but fast enough for the time that a request may take.
    proxy.slow(20_000);
    measure(&mut app);
    all_there("it was slow", &influx, &mut app);
    proxy.pass();

    influx.server.kill();
    outage(&worker, 4, "no answer from", &mut app);
    // The worker ends in the middle of it, and another goes on.
    worker.kill();
    worker.start();
    influx.server.start();
    all_there("server and worker were killed", &influx, &mut app);
    // The new one may have met the outage before its end.
    let seen = outages(&worker);
    assert!(seen == 5 || seen == 6, "{}", worker.log());

    app.end();
    all_there("the program has ended", &influx, &mut app);
    worker.stop();
    let log = worker.log();
    assert_eq!(outages(&worker), seen, "{log}");
    assert!(!log.contains(Influx::PASSWORD), "{log}");
    assert!(!log.contains("dead letters"), "{log}");
}

#[test]
fn refused_credentials_and_a_missing_database_are_one_line_each() {
    let Some(influx) = Influx::start() else { return };
    let (traffic, directory) = (Traffic::start(), tempfile::tempdir().unwrap());
    let mut worker = worker(&traffic, influx.port(), directory.path()).start();
    std::fs::write(directory.path().join("password"), "not-the-password").unwrap();
    traffic.until_heard(|| {
        let log = worker.log();
        log.contains("answered 401: authorization failed: check the user name").then_some(()).ok_or(log)
    });
    let mut app = traffic.instance("web1");
    measure(&mut app);
    std::fs::write(directory.path().join("password"), Influx::PASSWORD).unwrap();
    until("it has logged in", || {
        app.publish();
        in_influx(&influx, &traffic.totals())
    });
    let log = worker.log();
    assert_eq!(log.matches(" WARN ").count(), 1, "{log}");

    influx.manage("DROP DATABASE metrics");
    until("the database is missed", || {
        measure(&mut app);
        let log = worker.log();
        let says = "database not found: \"metrics\": check that the database";
        log.contains(says).then_some(()).ok_or(log)
    });
    influx.manage("CREATE DATABASE metrics");
    influx.manage("GRANT WRITE ON metrics TO writer");
    until("the worker is satisfied", || {
        measure(&mut app);
        let log = worker.log();
        (log.matches("takes batches again").count() == 2).then_some(()).ok_or(log)
    });
    worker.stop();
    let log = worker.log();
    assert_eq!(log.matches("the backend does not take").count(), 2, "{log}");
    assert!(!log.contains("not-the-password"), "{log}");
}

#[test]
fn a_conflict_costs_the_points_that_are_in_it() {
    let Some(influx) = Influx::start() else { return };
    let (traffic, directory) = (Traffic::start(), tempfile::tempdir().unwrap());
    let path = "/write?db=metrics&u=admin&p=secret";
    zibrato_trial::http::post(influx.port(), path, &[], "bad counter=\"text\"").unwrap();
    let mut worker = worker(&traffic, influx.port(), directory.path()).start();
    traffic.until_heard(|| {
        let probes = rows(&influx.query("SELECT * FROM \"trial.probe\"")?);
        (!probes.is_empty()).then_some(()).ok_or_else(|| "no probe".to_owned())
    });
    let mut app = traffic.instance("web1");
    app.count("bad", &[], 5);
    measure(&mut app);
    until("the good ones have arrived", || {
        app.publish();
        in_influx(&influx, &traffic.totals())
    });
    worker.stop();
    let log = worker.log();
    assert_eq!(log.matches("refused measurements").count(), 1, "{log}");
    assert!(log.contains("field type conflict") && log.contains("first=\"bad\""), "{log}");
    let letters = std::fs::read_dir(directory.path().join("state")).unwrap();
    let letters =
        letters.map(|file| file.unwrap().path()).find(|path| path.to_str().unwrap().contains("dead"));
    assert!(std::fs::read_to_string(letters.unwrap()).unwrap().contains("field type conflict"));
}

#[test]
fn an_outage_may_be_longer_than_the_outbox_holds() {
    let Some(mut influx) = Influx::start() else { return };
    let (traffic, directory) = (Traffic::start(), tempfile::tempdir().unwrap());
    let setup = worker(&traffic, influx.port(), directory.path());
    let mut worker = setup.args(["--outbox-limit", "3", "--batch", "2", "-v"]).start();
    traffic.until_heard(|| {
        let probes = rows(&influx.query("SELECT * FROM \"trial.probe\"")?);
        (!probes.is_empty()).then_some(()).ok_or_else(|| "no probe".to_owned())
    });
    let mut app = traffic.instance("web1");
    measure(&mut app);
    influx.server.stop();
    until("the outbox is full", || {
        measure(&mut app);
        let log = worker.log();
        log.contains("the outbox is full").then_some(()).ok_or(log)
    });
    measure(&mut app);
    influx.server.start();
    until("all is there", || {
        app.publish();
        in_influx(&influx, &traffic.totals())
    });
    worker.stop();
    let log = worker.log();
    assert_eq!(log.matches("the backend does not take").count(), 1, "{log}");
}

/// The sum of all samples of a series, or how they differ from what is wanted.
fn in_victoria(victoria: &Victoria, totals: &Totals) -> Result<(), String> {
    let sum = |name: &str| -> Result<(f64, Option<f64>), String> {
        let lines = victoria.export(&format!("{{__name__=\"{name}\",source=\"web1\"}}"))?;
        let series = lines.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
        let values: Vec<f64> =
            series.flat_map(|s| s["values"].as_array().unwrap().clone()).filter_map(|v| v.as_f64()).collect();
        Ok((values.iter().sum(), values.last().copied()))
    };
    let whole = [
        "trial.requests_counter",
        "trial.hits_counter",
        "trial.users_updown",
        "trial.latency_timer_count",
        "trial.sizes_distribution_count",
    ];
    let mut found = Vec::new();
    for name in whole {
        found.push(sum(name)?.0.to_string());
    }
    for name in ["trial.latency_timer_sum", "trial.sizes_distribution_sum"] {
        found.push(format!("{:.9}", sum(name)?.0));
    }
    found.push(format!("{:.9}", sum("trial.temperature_gauge")?.1.unwrap_or(f64::NAN)));
    same(&found, &wanted(totals))
}

#[test]
fn victoria_metrics_has_all_of_it_too() {
    let Some(victoria) = Victoria::start() else { return };
    for target in [["--database", "metrics"], ["--bucket", "metrics"]] {
        let (traffic, directory) = (Traffic::start(), tempfile::tempdir().unwrap());
        let proxy = Proxy::start(victoria.port());
        let setup = plain_worker(&traffic, proxy.port(), directory.path());
        let mut worker =
            setup.args(target).args(["--gzip", "--tag", &format!("to={}", &target[0][2..])]).start();
        let sent = |worker: &Server| {
            let log = worker.log();
            (proxy.bytes() > 0).then_some(()).ok_or(log)
        };
        traffic.until_heard(|| sent(&worker));
        let mut app = traffic.instance("web1");
        measure(&mut app);
        // What is sent twice counts once.
        proxy.lose_answers();
        until("the worker complains", || {
            measure(&mut app);
            let log = worker.log();
            log.contains("does not take batches").then_some(()).ok_or(log)
        });
        proxy.pass();
        until("all is there", || {
            app.publish();
            in_victoria(&victoria, &traffic.totals())
        });
        worker.stop();
        let delete = "/api/v1/admin/tsdb/delete_series?match[]={source=\"web1\"}";
        zibrato_trial::http::get(victoria.port(), delete).unwrap();
    }
}
