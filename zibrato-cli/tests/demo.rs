//! `zibrato demo` ends exact.

mod support;

use serde_json::Value;
use support::{Running, run, zibrato};

#[test]
fn ends_exact() {
    let (code, out, err) = run(&mut zibrato(&["demo", "--seconds", "2"]));
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let verdict = out.lines().last().unwrap();
    assert!(verdict.starts_with("exact: all 15 figures are the same"), "{out}");
    assert!(
        out.contains("search.request") && out.contains("outcome=cancelled") && !out.contains('\x1b'),
        "{out}"
    );
}

#[test]
fn compares_as_json() {
    let (code, out, _) = run(&mut zibrato(&["demo", "--seconds", "1", "--json"]));
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &told["exact"], told["metrics"].as_array().unwrap().len()), (0, &true.into(), 15));
    assert!(told["metrics"].as_array().unwrap().iter().all(|m| m["did"] == m["arrived"]), "{out}");
    let blocks = told["metrics"].as_array().unwrap().iter().find(|m| m["name"] == "index.blocks").unwrap();
    assert!(blocks["did"].as_i64().unwrap() > 100, "{out}");
}

#[cfg(unix)]
#[test]
fn ends_with_the_comparison_when_it_is_stopped() {
    let mut demo = Running::start(zibrato(&["demo"]));
    // The first table comes after some seconds.
    demo.out.until(|line| line.contains("index.sort"));
    demo.signal(rustix::process::Signal::INT);
    demo.out.until(|line| line.starts_with("exact: "));
    assert_eq!(demo.wait().code(), Some(0));
}
