//! The tables of the manual, and what the programs really tell.

use std::collections::BTreeSet;

use super::read;

/// Names in the first columns of the manual's tables.
fn documented(part: &str) -> BTreeSet<String> {
    let manual = read("docs/operate.md");
    let cells = manual.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    cells.map(|(name, _)| name.to_owned()).filter(|name| name.starts_with(part)).collect()
}

#[test]
fn every_metric_is_in_the_manual_with_its_meaning() {
    let manual = read("docs/operate.md");
    for (part, known) in
        [("zibrato.broker.", zibrato_broker::METRICS), ("zibrato.worker.", zibrato_worker::METRICS)]
    {
        let names: BTreeSet<String> = known.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(documented(part), names);
        assert!(known.is_sorted(), "the list of {part} is not in order");
        for (name, help) in known {
            assert!(manual.contains(&format!("| `{name}` | {help} |")), "{name}: {help}");
            assert!(!help.ends_with('.'), "{help}");
        }
    }
}
