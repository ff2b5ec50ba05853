//! A real carbon has exactly what was measured.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::collections::BTreeMap;
use std::path::Path;

use zibrato_trial::{Carbon, Proxy, SOURCE, Server, Setup, Stored, Totals, Traffic, until};

const AGGREGATION: &str = include_str!("../carbon/storage-aggregation.conf");
/// A step of a second, because a test is to be short.
const SCHEMAS: &str = "[test]\npattern = .*\nretentions = 1s:1h,10s:1d\n";

fn worker(traffic: &Traffic, address: &str, state: &Path, more: &[&str]) -> Setup {
    Server::new(env!("CARGO_BIN_EXE_zibrato-graphite"))
        .args(["--broker", traffic.broker(), "--levels", "info", "--flush", "0.5", "--step", "1"])
        .args(["--address", address, "--state", state.to_str().unwrap(), "--timeout", "2"])
        .args(more)
        .ready_when_it_says("the broker is heard")
}

fn stored(carbon: &Carbon) -> Result<BTreeMap<String, Stored>, String> {
    Ok(carbon.stored()?.into_iter().map(|stored| (stored.series.clone(), stored)).collect())
}

fn heard(carbon: &Carbon, series: &str) -> Result<(), String> {
    let stored = stored(carbon)?;
    stored.contains_key(series).then_some(()).ok_or_else(|| format!("there is no {series} in {stored:?}"))
}

/// What carbon does not have of these totals, whose series are named by `series`.
fn missing(carbon: &Carbon, totals: &Totals, series: impl Fn(&str) -> String) -> Result<(), String> {
    let stored = stored(carbon)?;
    let wanted = [
        ("trial.requests.count", totals.requests() as f64),
        ("trial.users.count", totals.users as f64),
        ("trial.latency.count", totals.latencies.len() as f64),
        ("trial.latency.sum", totals.latency_sum() as f64 / 1e9),
        ("trial.sizes.count", totals.sizes.len() as f64),
        ("trial.sizes.sum", totals.size_sum()),
    ];
    for (name, value) in wanted {
        let name = series(name);
        let sum = stored.get(&name).map(Stored::sum);
        // Seconds are no whole floats, and are added up here.
        if sum.is_none_or(|sum| (sum - value).abs() > value.abs() * 1e-12) {
            return Err(format!("{name} adds up to {sum:?}, not {value}"));
        }
    }
    let last = stored.get(&series("trial.temperature")).and_then(|stored| stored.points.last());
    match last {
        Some(&(_, value)) if value == totals.temperature => Ok(()),
        other => Err(format!("the temperature is {other:?}, not {}", totals.temperature)),
    }
}

fn is_exact(address: impl Fn(&Carbon) -> String) {
    let Some(carbon) = Carbon::start(SCHEMAS, AGGREGATION) else { return };
    let (traffic, state) = (Traffic::start(), tempfile::tempdir().unwrap());
    let mut worker = worker(&traffic, &address(&carbon), state.path(), &[]).start();
    traffic.until_heard(|| heard(&carbon, "probe.trial.probe.count"));
    let (mut one, mut two) = (traffic.instance(SOURCE), traffic.instance(SOURCE));
    let mut measure = |rounds: usize| {
        for _ in 0..rounds {
            one.measure();
            two.measure();
        }
        until("everything has arrived", || {
            one.publish();
            two.publish();
            missing(&carbon, &traffic.totals(), |name| format!("web1.{name}"))
        });
    };
    measure(20);
    measure(5);
    worker.stop();
    worker.start();
    measure(5);
    worker.stop();
    assert!(worker.log().lines().all(|line| !line.contains("WARN")), "{}", worker.log());
    let stored = stored(&carbon).unwrap();
    let hits = &stored["web1.trial.hits.code_200.method_GET.count"];
    assert_eq!((hits.sum(), hits.aggregation.as_str()), (traffic.totals().hits() as f64, "sum"));
    let way = |series: &str| stored[&format!("web1.trial.latency.{series}")].aggregation.clone();
    assert_eq!(["sum", "min", "max", "p99", "mean"].map(way), ["sum", "min", "max", "max", "average"]);
}

#[test]
fn carbon_has_it_all_over_tcp() {
    is_exact(|carbon| format!("tcp://127.0.0.1:{}", carbon.tcp));
}

#[test]
fn carbon_has_it_all_over_udp() {
    is_exact(|carbon| format!("udp://127.0.0.1:{}", carbon.udp));
}

#[test]
fn carbon_has_tags() {
    let Some(carbon) = Carbon::start(SCHEMAS, AGGREGATION) else { return };
    let (traffic, state) = (Traffic::start(), tempfile::tempdir().unwrap());
    let address = format!("tcp://127.0.0.1:{}", carbon.tcp);
    let _worker = worker(&traffic, &address, state.path(), &["--tags", "series"]).start();
    traffic.until_heard(|| heard(&carbon, "trial.probe.count;source=probe"));
    let mut app = traffic.instance(SOURCE);
    (0..5).for_each(|_| app.measure());
    until("everything has arrived", || {
        app.publish();
        missing(&carbon, &traffic.totals(), |name| format!("{name};source=web1"))
    });
    let stored = stored(&carbon).unwrap();
    let hits = &stored["trial.hits.count;code=200;method=GET;source=web1"];
    assert_eq!((hits.sum(), hits.aggregation.as_str()), (traffic.totals().hits() as f64, "sum"));
}

#[test]
fn on_bad_days_everything_arrives_later_and_once() {
    let Some(mut carbon) = Carbon::start(SCHEMAS, AGGREGATION) else { return };
    let (proxy, traffic) = (Proxy::start(carbon.tcp), Traffic::start());
    let state = tempfile::tempdir().unwrap();
    let mut worker =
        worker(&traffic, &format!("tcp://127.0.0.1:{}", proxy.port()), state.path(), &[]).start();
    traffic.until_heard(|| heard(&carbon, "probe.trial.probe.count"));
    let mut app = traffic.instance(SOURCE);
    type Begins = fn(&Proxy);
    let bad_days: [(&str, Begins); 5] = [
        ("refuses", Proxy::refuse),
        ("hangs", Proxy::hang),
        ("is reset half-way", |proxy| proxy.reset_after(100)),
        ("is slow", |proxy| proxy.slow(50)),
        ("is stopped", Proxy::pass),
    ];
    for (number, (name, begins)) in bad_days.into_iter().enumerate() {
        begins(&proxy);
        if name == "is stopped" {
            carbon.server.stop();
        }
        until(&format!("it is told that it {name}"), || {
            app.measure();
            app.publish();
            let told = worker.log().matches("the backend does not take").count();
            assert!(told <= number + 1, "one line for each outage: {}", worker.log());
            (told == number + 1).then_some(()).ok_or_else(|| worker.log())
        });
        if name == "hangs" {
            // What it was sending then is sent again by the next one.
            worker.kill();
            worker.start();
        }
        proxy.pass();
        if name == "is stopped" {
            carbon.server.start();
        }
        until(&format!("everything has arrived although it {name}"), || {
            app.publish();
            missing(&carbon, &traffic.totals(), |name| format!("web1.{name}"))
        });
    }
}
