//! Lines to a real rsyslogd.
#![cfg(unix)]

mod support;

use support::{batch, event, mtrace};
use zibrato_mtrace::{Line, Parsed, parse};
use zibrato_trial::{Rsyslog, free_port, until};
use zibrato_worker::{Accepted, Backend as _, BackendError};

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_syslog_brings_whole_lines() {
    let Some(server) = Rsyslog::start() else { return };
    let targets = [
        format!("tcp://127.0.0.1:{}", server.port()),
        format!("udp://localhost:{}", server.port()),
        format!("unix://{}", server.socket().display()),
    ];
    for (way, target) in targets.iter().enumerate() {
        let first = way as u64 * 100;
        let mut backend = mtrace(&["--syslog", target]);
        assert_eq!(backend.send(&batch(1, first..first + 50)).await, Ok(Accepted::All), "{target}");
        let lines = until(&format!("all of {target} are there"), || {
            let lines = server.lines();
            let own: Vec<String> = lines.into_iter().skip(way * 50).collect();
            if own.len() < 50 { Err(format!("{} are", own.len())) } else { Ok(own) }
        });
        for line in &lines {
            let fields: Vec<&str> = line.splitn(7, '|').collect();
            let Ok(Parsed::Line(read)) = parse(fields[6]) else { panic!("{line}") };
            assert_eq!(read, Line::of(&event(read.trace)));
            // Local use 0, informational or error.
            assert_eq!(fields[0], if read.trace % 10 == 9 { "131" } else { "134" });
            assert_eq!((fields[3], fields[5]), ("zibrato-mtrace", "backend"));
            assert_eq!(fields[4], std::process::id().to_string());
            assert!(fields[1].starts_with("2026-01-0"), "{line}");
        }
        let mut numbers: Vec<u64> = lines.iter().filter_map(|line| number(line)).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (first..first + 50).collect::<Vec<_>>());
    }
}

fn number(line: &str) -> Option<u64> {
    match parse(line.splitn(7, '|').nth(6)?) {
        Ok(Parsed::Line(line)) => Some(line.trace),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_syslog_that_is_away_gets_its_lines_later_marked_as_perhaps_repeated() {
    let Some(mut server) = Rsyslog::start() else { return };
    let mut backend = mtrace(&["--syslog", &format!("tcp://127.0.0.1:{}", server.port())]);
    server.server.stop();
    let Err(BackendError::Retry { why, .. }) = backend.send(&batch(1, 0..3)).await else { panic!() };
    assert!(why.starts_with("tcp://127.0.0.1:") && why.contains("refused"), "{why}");
    server.server.start();
    assert_eq!(backend.send(&batch(1, 0..3)).await, Ok(Accepted::All));
    assert_eq!(backend.send(&batch(2, 3..5)).await, Ok(Accepted::All));
    until("all are there", || {
        (server.lines().len() == 5).then_some(()).ok_or_else(|| server.lines().join("\n"))
    });
    let repeated = server.lines().iter().filter(|line| line.contains("\"repeat\":true")).count();
    assert_eq!(repeated, 3, "those of the batch that was tried before");

    let mut nowhere = mtrace(&["--syslog", &format!("unix:///nowhere/{}", free_port())]);
    let Err(BackendError::Retry { why, .. }) = nowhere.send(&batch(1, 0..1)).await else { panic!() };
    assert!(why.starts_with("unix:///nowhere/"), "{why}");
}
