//! The program, from frames to what receivers have, on good days and on bad ones.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::path::Path;
use std::time::Duration;

use zibrato_trial::otlp::{Receiver, Rotel, Step};
use zibrato_trial::{Fault, Instance, Proxy, Server, Setup, Traffic, until};

fn worker(traffic: &Traffic, state: &Path, url: &str) -> Setup {
    Server::new(env!("CARGO_BIN_EXE_zibrato-otlp"))
        .args(["--broker", traffic.broker(), "--levels", "info", "--flush", "0.2", "--timeout", "5"])
        .args(["--url", url, "--state"])
        .arg(state)
}

fn measure(app: &mut Instance, rounds: usize) {
    for _ in 0..rounds {
        app.measure();
        app.publish();
    }
}

fn until_heard(traffic: &Traffic, receiver: &Receiver) {
    traffic.until_heard(|| receiver.stored("probe", "trial.probe", &[]));
}

fn until_all(what: &str, traffic: &Traffic, receiver: &Receiver, seconds: bool, apps: &mut [&mut Instance]) {
    until(what, || {
        apps.iter_mut().for_each(|app| app.publish());
        receiver.has_all(&traffic.totals(), seconds)
    });
}

#[test]
fn totals_are_exact_whatever_the_receiver_answers() {
    for (more, seconds) in [(vec![], true), (vec!["--timer-unit", "ns", "--compression", "none"], false)] {
        let (receiver, state) = (Receiver::start(), tempfile::tempdir().unwrap());
        let traffic = Traffic::start();
        let mut worker = worker(&traffic, state.path(), &receiver.url()).args(more).start();
        until_heard(&traffic, &receiver);
        let (mut app, mut other) = (traffic.instance("web1"), traffic.instance("web1"));
        receiver.script([
            Step::Answer(503, "retry-after: 0\r\n"),
            Step::Lose,
            Step::Answer(429, "retry-after: 1\r\n"),
            Step::Answer(502, ""),
            Step::Answer(401, ""),
        ]);
        for round in 0..3 {
            measure(&mut app, 20);
            measure(&mut other, 10);
            until_all("it has all", &traffic, &receiver, seconds, &mut [&mut app, &mut other]);
            if round == 1 {
                worker.kill();
                measure(&mut app, 5);
                other.end();
                other = traffic.instance("web1");
                worker.start();
            }
        }
        receiver.check_quantiles(&traffic.totals(), seconds);
        worker.stop();
        assert_eq!(receiver.seen().violations, Vec::<String>::new());
        assert!(receiver.seen().script.is_empty());
        let latency = receiver.stored("web1", "trial.latency", &[]).unwrap();
        assert_eq!(latency.unit, if seconds { "s" } else { "ns" });
        assert!(receiver.stored("web1", "trial.requests", &[]).unwrap().is_monotonic);
        assert!(!receiver.stored("web1", "trial.users", &[]).unwrap().is_monotonic);
        let log = worker.log();
        assert!(log.matches("the backend does not take").count() <= 6, "{log}");
    }
}

#[test]
fn deltas_add_up_to_the_totals() {
    let (receiver, state) = (Receiver::start(), tempfile::tempdir().unwrap());
    let traffic = Traffic::start();
    let mut worker = worker(&traffic, state.path(), &receiver.url()).args(["--temporality", "delta"]).start();
    until_heard(&traffic, &receiver);
    let (mut app, mut other) = (traffic.instance("web1"), traffic.instance("web1"));
    receiver.script([Step::Answer(503, ""), Step::Answer(504, "")]);
    for _ in 0..2 {
        measure(&mut app, 20);
        measure(&mut other, 10);
        until_all("it has all", &traffic, &receiver, true, &mut [&mut app, &mut other]);
        worker.stop();
        measure(&mut app, 10);
        worker.start();
    }
    until_all("it has all", &traffic, &receiver, true, &mut [&mut app, &mut other]);
    receiver.check_quantiles(&traffic.totals(), true);
    worker.stop();
    assert_eq!(receiver.seen().violations, Vec::<String>::new());
}

#[test]
fn bad_ways_cost_nothing() {
    let (receiver, state) = (Receiver::start(), tempfile::tempdir().unwrap());
    let (traffic, proxy) = (Traffic::start(), Proxy::start(receiver.port));
    let url = format!("http://127.0.0.1:{}/v1/metrics", proxy.port());
    let mut worker = worker(&traffic, state.path(), &url).start();
    until_heard(&traffic, &receiver);
    let mut app = traffic.instance("web1");
    for fault in [Fault::Refuse, Fault::ResetAfter(300), Fault::LoseAnswers, Fault::Slow(20_000)] {
        proxy.set(fault);
        (0..10).for_each(|_| {
            measure(&mut app, 5);
            std::thread::sleep(Duration::from_millis(50));
        });
        proxy.set(Fault::Pass);
        until_all(&format!("it has all after {fault:?}"), &traffic, &receiver, true, &mut [&mut app]);
    }
    receiver.check_quantiles(&traffic.totals(), true);
    worker.stop();
    assert_eq!(receiver.seen().violations, Vec::<String>::new());
    let log = worker.log();
    assert!(log.matches("the backend does not take").count() <= 4, "{log}");
}

#[test]
fn a_collector_takes_all_and_passes_it_on() {
    let (receiver, state) = (Receiver::start(), tempfile::tempdir().unwrap());
    let traffic = Traffic::start();
    let Some(mut collector) = Rotel::start(&receiver) else { return };
    let mut worker = worker(&traffic, state.path(), &format!("http://127.0.0.1:{}", collector.port))
        .args(["--service-name", "shop"])
        .start();
    until_heard(&traffic, &receiver);
    let mut app = traffic.instance("web1");
    measure(&mut app, 50);
    until_all("the collector has passed it on", &traffic, &receiver, true, &mut [&mut app]);
    collector.server.stop();
    measure(&mut app, 50);
    collector.server.start();
    until_all("the collector has passed it on", &traffic, &receiver, true, &mut [&mut app]);
    receiver.check_quantiles(&traffic.totals(), true);
    worker.stop();
    assert_eq!(receiver.seen().violations, Vec::<String>::new());
    let seen = receiver.seen();
    let (resource, ..) = seen.streams.keys().find(|(_, name, _)| name == "trial.requests").unwrap();
    assert_eq!(resource.get("service.name").map(String::as_str), Some("shop"));
    assert_eq!(resource.get("host.name").map(String::as_str), Some("web1"));
}
