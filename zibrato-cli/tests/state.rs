//! `zibrato state reshard` on the state of a worker that has run.
#![cfg(unix)]

mod support;

use rustix::process::Signal;
use support::{Broker, Running, run, zibrato};

#[test]
fn moves_the_state_of_a_worker_to_two() {
    let broker = Broker::start();
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_string();
    let (all, first, second) = (at("all"), at("1"), at("2"));
    // Nobody listens where it flushes to, so what it settles stays in its outbox.
    let arguments =
        ["librato", "--state", &all, "--flush", "0.1", "--url", "http://127.0.0.1:1", "--username", "me"];
    let mut worker = broker.zibrato(&arguments);
    let mut worker = Running::start({
        worker.env("LIBRATO_TOKEN", "secret");
        worker
    });
    worker.err.until(|line| line.contains("the broker is heard"));
    assert_eq!(run(&mut broker.zibrato(&["send", "counter", "c", "5"])).0, 0);
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait().code(), Some(0));

    let reshard = ["state", "reshard", "librato", "--old", &all, "--new", &first, &second];
    let (code, out, err) = run(&mut zibrato(&reshard));
    assert!(
        code == 0 && out.starts_with("moved ") && out.ends_with("from 1 to 2 directories\n"),
        "{out}{err}"
    );
    let (code, _, err) =
        run(&mut zibrato(&["state", "reshard", "librato", "--old", &first, "--new", &at("x")]));
    assert!(code == 1 && err.starts_with("zibrato: failed to"), "{err}");
    let (code, ..) = run(&mut zibrato(&["state", "reshard", "librato", "--old", &first]));
    assert_eq!(code, 2);
}
