//! A subscriber, a process of its own, that is stopped: nobody else waits for it.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // Also in what the tests share.

mod support;

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use omq_tokio::SocketType;
use support::raw::greeted;
use support::*;

const ADDRESS: &str = "ZIBRATO_TEST_STOPPED";

/// Ends with the test.
struct Process(Child);

impl Process {
    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.0.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "the other test starts it as a process of its own"]
fn reads_on_and_on() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let mut stream = greeted(&address, "SUB", 3).unwrap();
    // As a command, because those are counted.
    stream.write_all(b"\x04\x0f\x09SUBSCRIBEinfo|").unwrap();
    while stream.read(&mut [0; 64 << 10]).is_ok_and(|length| length > 0) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn others_get_everything_while_a_process_is_stopped() {
    let broker = start(config()).await;
    let dealer = connected(SocketType::Dealer, &broker.addresses.ask).await;
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "reads_on_and_on", "--ignored"]).env(ADDRESS, &broker.addresses.publish);
    let process = Process(command.stdout(Stdio::null()).spawn().unwrap());
    until(&dealer, |told| told["commands"] == 1).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(subscriber(&broker.addresses, &["info|"]).await);
    }
    let pushes = [
        connected(SocketType::Push, &broker.addresses.push).await,
        connected(SocketType::Push, &broker.addresses.push).await,
    ];
    let mut sequence = 0;
    let mut turn = async |frames: u64| {
        for _ in 0..frames {
            sequence += 1;
            for (instance, push_end) in (1..).zip(&pushes) {
                let mut frame = complete(instance, sequence, 1);
                frame.resize(100_000, 0);
                push(push_end, "info|", &frame).await;
                for seen in &seen {
                    assert!(next(seen).await[1] == frame, "{sequence}");
                }
            }
        }
        info(&dealer).await
    };
    assert_eq!(turn(10).await["frames_dropped"], 0);
    process.signal("-STOP");
    // 100 MB, of which 16 may wait, besides what the kernel holds.
    let told = turn(500).await;
    assert!(told["frames_dropped"].as_u64() > Some(0), "{told}");
    assert_eq!(told["slow"].as_array().unwrap().len(), 1);
    assert_eq!(told["slow"][0]["who"], "127.0.0.3");
    process.signal("-CONT");
    let told = until(&dealer, |told| told["queued_bytes"] == 0).await;
    // It is there again, and misses nothing more.
    assert_eq!(turn(20).await["frames_dropped"], told["frames_dropped"]);
    broker.stop().await;
}
