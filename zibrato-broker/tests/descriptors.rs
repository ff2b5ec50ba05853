//! The program with few file descriptors: whoever has most connections gives of them.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // Also in what the tests share.

mod support;

use std::process::{Child, Command, Stdio};
use std::time::Instant;

use support::DEADLINE;
use support::raw::greeted;

struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn connections_that_say_nothing_do_not_use_up_the_descriptors() {
    let port = (20_000 + std::process::id() % 5000 * 3..)
        .find(|port| (0..3).all(|n| std::net::TcpListener::bind(("127.0.0.1", (port + n) as u16)).is_ok()))
        .unwrap();
    let program = env!("CARGO_BIN_EXE_zibrato-broker");
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -n 160; exec {program} --port {port} --state none")]);
    let _program = Program(shell.stderr(Stdio::null()).spawn().unwrap());
    let start = Instant::now();
    let (push, ask) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{}", port + 2));
    while greeted(&push, "PUSH", 2).is_err() {
        assert!(start.elapsed() < DEADLINE, "the broker did not come up");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let held: Vec<_> = (0..100).filter_map(|_| greeted(&push, "PUSH", 3).ok()).collect();
    assert!(held.len() > 50, "there are some descriptors: {}", held.len());
    // More than there are, without waiting for their greetings.
    let more: Vec<_> =
        (0..300).filter_map(|_| support::raw::attack(&push, 3, &support::raw::ready("PUSH"))).collect();
    for (address, kind) in [(&push, "PUSH"), (&ask, "DEALER")] {
        assert!(greeted(address, kind, 2).is_ok(), "{kind} came in");
    }
    drop((held, more));
}
