//! Real daemons have exactly what was measured, and say so themselves.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use zibrato_trial::{Collectd, Instance, SOURCE, Server, Setup, Statsd, Totals, Traffic, free_port, until};

/// The worker's program; it is there when it has said that it hears the broker.
fn worker(traffic: &Traffic, address: &str, state: &Path, more: &[&str]) -> Setup {
    Server::new(env!("CARGO_BIN_EXE_zibrato-statsd"))
        .args(["--broker", traffic.broker(), "--levels", "info,zibrato", "--flush", "0.2"])
        .args(["--address", address, "--state", state.to_str().unwrap()])
        .args(more)
        .ready_when_it_says("the broker is heard")
}

/// What of the totals a daemon does not have, from its counters and gauges.
fn missing(
    totals: &Totals,
    counters: &BTreeMap<String, f64>,
    gauges: &BTreeMap<String, f64>,
) -> Result<(), String> {
    let wanted = [
        ("web1.trial.requests", totals.requests() as f64),
        ("web1.trial.hits.code_200.method_GET", totals.hits() as f64),
        ("web1.trial.latency.count", totals.latencies.len() as f64),
        ("web1.trial.sizes.count", totals.sizes.len() as f64),
        ("web1.trial.sizes.sum", totals.size_sum()),
    ];
    for (name, value) in wanted {
        let found = counters.get(name).copied();
        if found != Some(value) {
            return Err(format!("{name} is {found:?}, not {value}"));
        }
    }
    // Milliseconds are no whole floats, of which the daemon makes a sum.
    let (found, sum) = (counters["web1.trial.latency.sum"], totals.latency_sum() as f64 / 1e6);
    if (found / sum - 1.0).abs() > 1e-12 {
        return Err(format!("the sum of latencies is {found}, not {sum}"));
    }
    for (name, value) in
        [("web1.trial.users", totals.users as f64), ("web1.trial.temperature", totals.temperature)]
    {
        let found = gauges.get(name).copied();
        if found != Some(value) {
            return Err(format!("the gauge {name} is {found:?}, not {value}"));
        }
    }
    Ok(())
}

fn arrived(statsd: &Statsd, totals: &Totals) -> Result<(), String> {
    missing(totals, &statsd.counters()?, &statsd.gauges()?)
}

fn heard(statsd: &Statsd) -> Result<(), String> {
    let counters = statsd.counters()?;
    counters.contains_key("probe.trial.probe").then_some(()).ok_or_else(|| format!("{counters:?}"))
}

/// Two programs of one source, of which the first ends, and then the worker: nothing is lost or counts twice.
fn is_exact(address: impl Fn(&Statsd) -> String) {
    let Some(statsd) = Statsd::start() else { return };
    let (traffic, state) = (Traffic::start(), tempfile::tempdir().unwrap());
    let mut worker = worker(&traffic, &address(&statsd), state.path(), &[]).start();
    traffic.until_heard(|| heard(&statsd));
    let (mut one, mut two) = (traffic.instance(SOURCE), traffic.instance(SOURCE));
    for round in 0..20 {
        one.measure();
        two.measure();
        one.publish();
        two.publish();
        if round == 10 {
            one.end();
            one = traffic.instance(SOURCE);
        }
    }
    let publish = |instances: &mut [Instance; 2]| instances.iter_mut().for_each(Instance::publish);
    let mut both = [one, two];
    until("everything has arrived", || {
        publish(&mut both);
        arrived(&statsd, &traffic.totals())
    });
    worker.stop();
    assert!(worker.log().lines().all(|line| !line.contains("WARN")), "{}", worker.log());
    arrived(&statsd, &traffic.totals()).unwrap();
    worker.start();
    both.iter_mut().for_each(Instance::measure);
    until("everything has arrived after a restart", || {
        publish(&mut both);
        arrived(&statsd, &traffic.totals())
    });
    let counters = until("the worker's own counters are there", || {
        let counters = statsd.counters()?;
        let own =
            |name: &str| counters.keys().any(|found| found.contains(&format!(".zibrato.worker.{name}.")));
        let is_there = own("lines.sent") && own("batches.sent") && !own("send.errors");
        is_there.then(|| counters.clone()).ok_or_else(|| format!("{counters:?}"))
    });
    assert_eq!(counters["statsd.bad_lines_seen"], 0.0);
}

#[test]
fn statsd_has_it_all_over_tcp() {
    is_exact(|statsd| format!("tcp://127.0.0.1:{}", statsd.tcp));
}

#[test]
fn statsd_has_it_all_over_a_unix_socket() {
    is_exact(|statsd| format!("unix://{}", statsd.socket.display()));
}

#[test]
fn statsd_has_it_all_over_udp() {
    is_exact(|statsd| format!("udp://127.0.0.1:{}", statsd.udp));
}

#[test]
fn statsd_has_tags_in_the_dialects_that_it_knows() {
    let Some(statsd) = Statsd::start() else { return };
    for (dialect, more) in [("graphite", ["--updown", "gauge"]), ("dogstatsd", ["--timers", "aggregates"])] {
        let (traffic, state) = (Traffic::start(), tempfile::tempdir().unwrap());
        let address = format!("tcp://127.0.0.1:{}", statsd.tcp);
        let more = ["--dialect", dialect, "--template", &format!("{dialect}.{{name}}"), more[0], more[1]];
        let _worker = worker(&traffic, &address, state.path(), &more).start();
        traffic.until_heard(|| {
            let counters = statsd.counters()?;
            let is_there = counters.contains_key(&format!("{dialect}.trial.probe;source=probe"));
            is_there.then_some(()).ok_or_else(|| format!("{counters:?}"))
        });
        let mut app = traffic.instance(SOURCE);
        (0..5).for_each(|_| app.measure());
        until("everything has arrived", || {
            app.publish();
            let (counters, totals) = (statsd.counters()?, traffic.totals());
            let found = counters.get(&format!("{dialect}.trial.hits;code=200;method=GET;source=web1"));
            let latencies = counters.get(&format!("{dialect}.trial.latency.count;source=web1"));
            let wanted = (Some(totals.hits() as f64), Some(totals.latencies.len() as f64));
            ((found.copied(), latencies.copied()) == wanted)
                .then_some(())
                .ok_or_else(|| format!("{counters:?}"))
        });
    }
}

/// What a StatsD sends to its Graphite: the sums of all that has come under each name.
fn graphite(listener: TcpListener) -> Arc<Mutex<BTreeMap<String, Vec<f64>>>> {
    let all: Arc<Mutex<BTreeMap<String, Vec<f64>>>> = Arc::default();
    let kept = all.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            for line in std::io::BufReader::new(stream.unwrap()).lines() {
                let line = line.unwrap();
                let (name, value) = line.split_once(' ').unwrap();
                let value = value.split(' ').next().unwrap().parse().unwrap();
                kept.lock().unwrap().entry(name.to_owned()).or_default().push(value);
            }
        }
    });
    all
}

#[test]
fn statsd_makes_figures_of_samples() {
    let port = free_port();
    let all = graphite(TcpListener::bind(("127.0.0.1", port)).unwrap());
    let Some(statsd) = Statsd::flushing_to(port) else { return };
    let (traffic, state) = (Traffic::start(), tempfile::tempdir().unwrap());
    let address = format!("tcp://127.0.0.1:{}", statsd.tcp);
    let more = ["--timers", "samples", "--samples", "80"];
    let _worker = worker(&traffic, &address, state.path(), &more).start();
    let values = |name: &str| all.lock().unwrap().get(name).cloned().unwrap_or_default();
    traffic.until_heard(|| {
        let probe = values("stats.counters.probe.trial.probe.count");
        (!probe.is_empty()).then_some(()).ok_or_else(|| "nothing has come".to_owned())
    });
    let mut app = traffic.instance(SOURCE);
    // A thousand of each, which are sent as 80 that stand for 12 or 13.
    (0..100).for_each(|_| app.measure());
    let totals = traffic.totals();
    let count = until("all are counted", || {
        app.publish();
        let counts = values("stats.timers.web1.trial.latency.count");
        let sum: f64 = counts.iter().sum();
        (sum >= 1000.0).then_some(sum).ok_or_else(|| format!("{sum} have come"))
    });
    assert_eq!(count, totals.latencies.len() as f64);
    let figure = |name: &str| {
        let values = values(&format!("stats.timers.web1.trial.latency.{name}"));
        values.into_iter().find(|&value| value > 0.0).unwrap()
    };
    let (upper_90, median) = (figure("upper_90"), figure("median"));
    let within = |found: f64, quantile: f64| {
        let wanted = totals.latency_quantile(quantile) / 1e6;
        assert!((found / wanted - 1.0).abs() < 0.03, "{found} is not {wanted}");
    };
    within(median, 0.5);
    // The 90th percentile is between two of 80 samples.
    within(upper_90, 0.9);
    let mean = totals.latency_sum() as f64 / 1e6 / count;
    assert!((figure("mean") / mean - 1.0).abs() < 0.01);
}

#[test]
fn collectd_has_it_all_over_udp() {
    let Some(collectd) = Collectd::start() else { return };
    let (traffic, state) = (Traffic::start(), tempfile::tempdir().unwrap());
    let address = format!("udp://127.0.0.1:{}", collectd.udp);
    let _worker = worker(&traffic, &address, state.path(), &[]).start();
    let values = |prefix: &str| -> BTreeMap<String, f64> {
        let values = collectd.last_values().into_iter();
        values.filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), value))).collect()
    };
    traffic.until_heard(|| {
        let counters = values("derive-");
        counters.contains_key("probe.trial.probe").then_some(()).ok_or_else(|| format!("{counters:?}"))
    });
    let (mut one, mut two) = (traffic.instance(SOURCE), traffic.instance(SOURCE));
    for _ in 0..20 {
        one.measure();
        two.measure();
        one.publish();
        two.publish();
    }
    one.end();
    until("everything has arrived", || {
        one.publish();
        two.publish();
        let (mut counters, totals) = (values("derive-"), traffic.totals());
        // It has whole counters only: it cuts off what is behind the point of each increase.
        let sum = totals.size_sum();
        let found = counters.get("web1.trial.sizes.sum").copied().unwrap_or_default();
        if (found - sum).abs() <= 60.0 {
            counters.insert("web1.trial.sizes.sum".to_owned(), sum);
        }
        counters.insert("web1.trial.latency.sum".to_owned(), totals.latency_sum() as f64 / 1e6);
        missing(&totals, &counters, &values("gauge-"))
    });
}
