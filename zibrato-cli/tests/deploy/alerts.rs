//! The rules for Prometheus.

use std::process::Command;

use zibrato_trial::installed;

use super::{file, read};

#[test]
fn prometheus_takes_the_rules_and_they_pass_their_tests() {
    if !installed("promtool", "apt-get install prometheus") {
        return;
    }
    for (doing, of) in [("check", "zibrato.rules.yml"), ("test", "zibrato-rules-test.yml")] {
        let mut tool = Command::new("promtool");
        tool.args([doing, "rules", of]).current_dir(file("deploy/prometheus"));
        let output = tool.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn every_alarm_is_explained_and_is_about_metrics_that_exist() {
    let (rules, manual) = (read("deploy/prometheus/zibrato.rules.yml"), read("docs/operate.md"));
    let after = |start: &'static str| rules.lines().filter_map(move |line| line.trim().strip_prefix(start));
    for alarm in after("- alert: ") {
        assert!(manual.contains(&format!("| `{alarm}` |")), "{alarm} is not in docs/operate.md");
        assert!(read("deploy/prometheus/zibrato-rules-test.yml").contains(alarm), "{alarm} has no test");
    }
    let known = zibrato_broker::METRICS.iter().chain(zibrato_worker::METRICS);
    // What the admin port itself says is beside what parts tell.
    let known = known.map(|(name, _)| name.replace('.', "_")).chain(["zibrato_healthy".into()]);
    let known: Vec<String> = known.collect();
    for expression in after("expr: ") {
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words.filter(|word| word.starts_with("zibrato_") && !word.ends_with('_')) {
            let name = word.strip_suffix("_total").unwrap_or(word);
            assert!(known.iter().any(|known| known == name), "{word} of {expression}");
        }
    }
}
