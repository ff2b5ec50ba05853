//! One warning where something is measured and nothing is installed.

use std::process::Command;
use std::time::Duration;

use zibrato::count;
use zibrato::testing::FakeClock;

/// Runs only as a process of its own, which the test below starts.
#[test]
fn measures_without_an_install() {
    if std::env::var_os("ZIBRATO_TEST_CHILD").is_none() {
        return;
    }
    let clock = FakeClock::at(1_000_000_000);
    let _entered = clock.enter();
    count!("nobody.first");
    count!("nobody.second");
    clock.advance(Duration::from_secs(11));
    count!("nobody.third");
    clock.advance(Duration::from_secs(11));
    count!("nobody.fourth");
}

#[test]
fn a_program_that_measures_for_nobody_is_told_once() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["measures_without_an_install", "--exact", "--nocapture"])
        .env("ZIBRATO_TEST_CHILD", "1")
        .output()
        .unwrap();
    let said = String::from_utf8(child.stderr).unwrap();
    assert!(child.status.success(), "{said}");
    assert_eq!(said.matches("nothing is installed").count(), 1, "{said}");
    assert!(!zibrato::status().installed);
}
