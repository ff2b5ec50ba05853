//! What goes wrong on the way: nothing counts twice, what may be lost is counted, and each outage is one line.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use support::*;
use zibrato_trial::{Proxy, SOURCE, Server, Statsd, Traffic, until};
use zibrato_worker::{Accepted, Backend as _, BackendError};

fn worker(traffic: &Traffic, port: u16, state: &Path, more: &[&str]) -> Server {
    Server::new(env!("CARGO_BIN_EXE_zibrato-statsd"))
        .args(["--broker", traffic.broker(), "--levels", "info", "--flush", "0.2", "--timeout", "1"])
        .args(["--address", &format!("tcp://127.0.0.1:{port}"), "--state", state.to_str().unwrap()])
        .args(more)
        .ready_when_it_says("the broker is heard")
        .start()
}

fn counter_of(statsd: &Statsd, name: &str) -> Result<i64, String> {
    Ok(statsd.counters()?.get(name).copied().unwrap_or_default() as i64)
}

fn is_there(statsd: &Statsd, traffic: &Traffic) -> Result<(), String> {
    let (found, wanted) = (counter_of(statsd, "web1.trial.requests")?, traffic.totals().requests());
    (found == wanted).then_some(()).ok_or_else(|| format!("{found} requests have arrived, not {wanted}"))
}

fn warnings(worker: &Server) -> Vec<String> {
    worker.log().lines().filter(|line| line.contains("WARN")).map(str::to_owned).collect()
}

#[test]
fn what_is_refused_or_hangs_arrives_later_and_once() {
    let Some(statsd) = Statsd::start() else { return };
    let (proxy, traffic, state) = (Proxy::start(statsd.tcp), Traffic::start(), tempfile::tempdir().unwrap());
    let worker = worker(&traffic, proxy.port(), state.path(), &[]);
    traffic.until_heard(|| match counter_of(&statsd, "probe.trial.probe")? {
        0 => Err("no probe".to_owned()),
        _ => Ok(()),
    });
    let mut app = traffic.instance(SOURCE);
    let mut said = 0;
    for (name, bad) in [("refuses", Proxy::refuse as fn(&Proxy)), ("hangs", Proxy::hang)] {
        bad(&proxy);
        for _ in 0..10 {
            app.measure();
            app.publish();
            std::thread::sleep(Duration::from_millis(50));
        }
        until(&format!("it is told that it {name}"), || {
            let warnings = warnings(&worker);
            (warnings.len() > said).then_some(()).ok_or_else(|| format!("{warnings:?}"))
        });
        std::thread::sleep(Duration::from_millis(700));
        proxy.pass();
        until("it has arrived", || {
            app.publish();
            is_there(&statsd, &traffic)
        });
        let warnings = warnings(&worker);
        assert_eq!(warnings.len(), said + 1, "one line for each outage: {warnings:#?}");
        assert!(warnings[said].contains("the backend does not take batches"), "{warnings:#?}");
        said = warnings.len();
    }
    assert!(worker.log().contains("the backend takes batches again"));
}

#[test]
fn a_server_that_was_stopped_gets_the_rest() {
    let Some(mut statsd) = Statsd::start() else { return };
    let (traffic, state) = (Traffic::start(), tempfile::tempdir().unwrap());
    let mut worker = worker(&traffic, statsd.tcp, state.path(), &[]);
    traffic.until_heard(|| match counter_of(&statsd, "probe.trial.probe")? {
        0 => Err("no probe".to_owned()),
        _ => Ok(()),
    });
    let mut app = traffic.instance(SOURCE);
    (0..10).for_each(|_| app.measure());
    until("the first have arrived", || {
        app.publish();
        is_there(&statsd, &traffic)
    });
    // It forgets everything, so that what comes then is the rest.
    let before = traffic.totals().requests();
    statsd.server.stop();
    for _ in 0..10 {
        app.measure();
        app.publish();
        std::thread::sleep(Duration::from_millis(50));
    }
    // The worker, too, is started again meanwhile.
    worker.kill();
    worker.start();
    app.measure();
    app.publish();
    statsd.server.start();
    until("the rest has arrived", || {
        app.publish();
        let (found, wanted) =
            (counter_of(&statsd, "web1.trial.requests")?, traffic.totals().requests() - before);
        (found == wanted).then_some(()).ok_or_else(|| format!("{found} requests have arrived, not {wanted}"))
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_half_way_is_doubt_which_is_counted_and_decided_as_told() {
    let Some(statsd) = Statsd::start() else { return };
    for (delivery, name) in [("at-most-once", "once"), ("at-least-once", "often")] {
        let proxy = Proxy::start(statsd.tcp);
        let address = format!("tcp://127.0.0.1:{}", proxy.port());
        let mut backend = backend(&["--address", &address, "--delivery", delivery, "--timeout", "2"]);
        let counters: Vec<_> = (0..100).map(|i| counter(&format!("{name}.{i}"), 1)).collect();
        let mut batch = cleaned(&backend, batch(1, counters));
        batch
            .measurements
            .push(cleaned(&backend, support::batch(1, vec![gauge("g", 5.0)])).measurements.remove(0));
        backend.connect().await.unwrap();
        // The system takes all of it, and half of it gets through.
        proxy.reset_after(1000);
        let result = backend.send(&batch).await;
        assert_eq!(counted(&backend, "measurements_in_doubt"), 100);
        proxy.pass();
        let again = match (delivery, result) {
            // The gauge may be sent again without harm.
            ("at-most-once", Ok(Accepted::Partly { refused, retry })) => {
                assert!(refused.is_empty());
                assert_eq!(retry, [100]);
                retry
            }
            ("at-least-once", Err(BackendError::Retry { why, .. })) => {
                assert!(why.contains("failed to"), "{why}");
                (0..=100).collect()
            }
            other => panic!("{other:?}"),
        };
        batch.measurements = again.iter().map(|&index| batch.measurements[index].clone()).collect();
        backend.connect().await.unwrap();
        assert_eq!(backend.send(&batch).await, Ok(Accepted::All));
        let total = until(&format!("{name} has arrived"), || {
            let counters = statsd.counters()?;
            let own = counters.iter().filter(|(own, _)| own.starts_with(&format!("web1.{name}.")));
            let total: f64 = own.map(|(_, total)| total).sum();
            (total > 0.0).then_some(total).ok_or_else(|| "nothing yet".to_owned())
        });
        if delivery == "at-most-once" {
            assert!(total < 100.0, "{total}: the half of it was lost");
        } else {
            assert!(total > 100.0 && total < 200.0, "{total}: the half of it came twice");
        }
        assert_eq!(statsd.gauges().unwrap()["web1.g"], 5.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_a_worker_left_is_not_sent_twice() {
    let Some(statsd) = Statsd::start() else { return };
    let address = format!("tcp://127.0.0.1:{}", statsd.tcp);
    let (mut first, mut second) = (backend(&["--address", &address]), backend(&["--address", &address]));
    let batch = cleaned(&first, batch(7, vec![counter("c", 5), gauge("g", 1.0), updown("u", 2)]));
    assert_eq!(first.send(&batch).await, Ok(Accepted::All));
    // The first one ends before it could say so; the other one is told.
    second.in_doubt(&batch);
    assert_eq!(second.send(&batch).await, Ok(Accepted::All));
    assert_eq!(counted(&second, "measurements_in_doubt"), 2);
    assert_eq!(statsd.counters().unwrap()["web1.c"], 5.0);
    assert_eq!(statsd.gauges().unwrap()["web1.u"], 2.0);
    // What comes after it is sent as ever.
    let next = cleaned(&second, support::batch(8, vec![counter("c", 1)]));
    assert_eq!(second.send(&next).await, Ok(Accepted::All));
    assert_eq!(statsd.counters().unwrap()["web1.c"], 6.0);
    assert_eq!(counted(&second, "lines_sent"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_is_opened_again_when_the_daemon_has_closed_it() {
    let Some(mut statsd) = Statsd::start() else { return };
    let address = format!("tcp://127.0.0.1:{}", statsd.tcp);
    let mut backend = backend(&["--address", &address, "--keep-connection"]);
    for round in 1..=3 {
        assert_eq!(send(&mut backend, &batch(round, vec![counter("c", 1)])).await, Ok(Accepted::All));
        until("it has arrived", || match counter_of(&statsd, "web1.c")? {
            1 => Ok(()),
            other => Err(format!("it is {other}")),
        });
        statsd.server.stop();
        statsd.server.start();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_at_the_port_is_noticed_over_udp() {
    let Some(mut statsd) = Statsd::start() else { return };
    let address = format!("udp://127.0.0.1:{}", statsd.udp);
    let mut backend = backend(&["--address", &address]);
    let batch = cleaned(&backend, batch(1, (0..300).map(|i| counter(&format!("c.{i}"), 1)).collect()));
    statsd.server.stop();
    backend.connect().await.unwrap();
    let failed = backend.send(&batch).await;
    assert!(matches!(&failed, Err(BackendError::Retry { why, .. }) if why.contains("refused")), "{failed:?}");
    assert_eq!((counted(&backend, "send_errors"), counted(&backend, "measurements_in_doubt")), (1, 0));
    statsd.server.start();
    backend.connect().await.unwrap();
    assert_eq!(backend.send(&batch).await, Ok(Accepted::All));
    until("all have arrived", || {
        let total: f64 =
            statsd.counters()?.iter().filter(|(name, _)| name.starts_with("web1.c.")).map(|(_, n)| n).sum();
        (total == 300.0).then_some(()).ok_or_else(|| format!("{total} have arrived"))
    });
}

/// How many packets the system has dropped in front of the socket at a UDP port.
fn drops(port: u16) -> u64 {
    let table = std::fs::read_to_string("/proc/net/udp").unwrap();
    let own = format!(":{port:04X}");
    let line =
        table.lines().find(|line| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&own)));
    line.unwrap().split_whitespace().last().unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_udp_loses_is_what_was_sent_less_what_the_daemon_has_counted() {
    let Some(statsd) = Statsd::start() else { return };
    let address = format!("udp://127.0.0.1:{}", statsd.udp);
    let mut backend = backend(&["--address", &address, "--mtu", "1500"]);
    statsd.server.pause();
    for round in 1..=40 {
        let counters = (0..300).map(|i| counter(&format!("c.{i}"), 1)).collect();
        assert_eq!(send(&mut backend, &batch(round, counters)).await, Ok(Accepted::All));
    }
    let lost = drops(statsd.udp);
    statsd.server.resume();
    let sent = counted(&backend, "packets_sent");
    assert!(lost > 0 && sent > lost, "{lost} of {sent} were dropped");
    until("the rest has arrived", || {
        let received = counter_of(&statsd, "statsd.packets_received")? as u64;
        (received == sent - lost)
            .then_some(())
            .ok_or_else(|| format!("{received} of {sent}, {lost} were dropped"))
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_to_a_unix_socket_wait_for_room_and_for_the_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dsd.socket");
    let address = format!("unixgram://{}", path.display());
    let mut backend = backend(&["--address", &address, "--dialect", "dogstatsd"]);
    let batch = cleaned(&backend, batch(1, (0..300).map(|i| counter(&format!("c.{i}"), 1)).collect()));
    let missing = backend.connect().await;
    assert!(
        matches!(&missing, Err(BackendError::Retry { why, .. }) if why.contains("failed to open")),
        "{missing:?}"
    );
    let socket = UnixDatagram::bind(&path).unwrap();
    let reader = std::thread::spawn(move || {
        let (mut lines, mut buffer) = (0, [0; 8192]);
        while lines < 3000 {
            let read = socket.recv(&mut buffer).unwrap();
            lines += String::from_utf8_lossy(&buffer[..read]).lines().count();
        }
        lines
    });
    for _ in 0..10 {
        backend.connect().await.unwrap();
        assert_eq!(backend.send(&batch).await, Ok(Accepted::All));
    }
    assert_eq!(reader.join().unwrap(), 3000);
    let gone = backend.send(&batch).await;
    assert!(matches!(gone, Err(BackendError::Retry { .. })), "{gone:?}");
    assert_eq!(counted(&backend, "measurements_in_doubt"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_do_not_wait_for_ever_and_what_had_no_room_is_sent_later() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dsd.socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let lines = || {
        let (mut lines, mut buffer) = (0, [0; 8192]);
        while let Ok(read) = socket.recv(&mut buffer) {
            lines += String::from_utf8_lossy(&buffer[..read]).lines().count();
        }
        lines
    };
    let address = format!("unixgram://{}", path.display());
    let mut backend = backend(&["--address", &address, "--dialect", "dogstatsd", "--timeout", "0.3"]);
    let batch = cleaned(&backend, batch(1, (0..300).map(|i| counter(&format!("c.{i}"), 1)).collect()));
    let mut accepted = 0;
    let rest = loop {
        backend.connect().await.unwrap();
        match backend.send(&batch).await {
            Ok(Accepted::All) => accepted += 300,
            Ok(Accepted::Partly { refused, retry }) => {
                assert!(refused.is_empty());
                accepted += 300 - retry.len();
                break retry;
            }
            Err(BackendError::Retry { why, .. }) => {
                assert!(why.contains("nothing happened within 0.3 s"), "{why}");
                break (0..300).collect();
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(counted(&backend, "measurements_in_doubt"), 0);
    assert_eq!(lines(), accepted);
    let mut again = batch.clone();
    again.measurements = rest.iter().map(|&index| batch.measurements[index].clone()).collect();
    backend.connect().await.unwrap();
    assert_eq!(backend.send(&again).await, Ok(Accepted::All));
    assert_eq!(lines(), rest.len());
}
