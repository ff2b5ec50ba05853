//! `zibrato info` with a real broker.

mod support;

use serde_json::Value;
use support::{Broker, run, zibrato};

#[test]
fn tells_about_the_broker() {
    let broker = Broker::start();
    run(&mut broker.zibrato(&["send", "counter", "c", "--source", "somebody"]));
    let (code, out, _) = run(&mut broker.zibrato(&["info"]));
    assert_eq!(code, 0);
    assert!(out.contains(&broker.url) && out.contains("somebody") && !out.contains('\x1b'), "{out}");
    let (code, out, _) = run(&mut broker.zibrato(&["info", "--json"]));
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &told["broker"], &told["acks"]), (0, &broker.url.as_str().into(), &1.into()));
}

#[test]
fn fails_where_one_does_not_answer() {
    let broker = Broker::start();
    let both = format!("{},tcp://127.0.0.1:1", broker.url);
    let (code, out, err) = run(&mut zibrato(&["info", "--json", "--broker", &both, "--deadline", "1"]));
    assert_eq!((code, out.lines().count()), (1, 1));
    assert!(err.contains("failed to ask the broker at tcp://127.0.0.1:1"), "{err}");
}
