//! Figures as Markdown.

use crate::case::{Case, Group, Side};
use crate::round::{Costs, Figures, Results};

/// One table: what it costs at least, Zibrato, then the peers, cheapest first.
pub(crate) fn print(group: Group, cases: &[Case], results: &Results) {
    println!("### {}\n", group.title());
    println!(
        "| | one thread | two threads, same metric | two threads, different metrics | of {}, one thread / two |",
        group.reference()
    );
    println!("|---|---|---|---|---|");
    let mut rows: Vec<(&Case, &Costs)> =
        cases.iter().filter(|c| c.group == group).filter_map(|c| Some((c, results.get(c.name)?))).collect();
    rows.sort_by(|(a, x), (b, y)| a.side.cmp(&b.side).then(x.one.min.total_cmp(&y.one.min)));
    let reference = results.get(group.reference());
    for (case, costs) in rows {
        let name = match case.side {
            Side::Floor => format!("floor: {}", case.name),
            Side::Zibrato => format!("**Zibrato** {}", case.name),
            Side::Peer => case.name.into(),
        };
        let ratio = reference.map_or_else(String::new, |r| {
            let (one, two) = (costs.one.min / r.one.min, costs.same.median / r.same.median);
            format!("{} / {}", figure(one), figure(two))
        });
        let different = costs.different.map_or_else(|| "–".into(), pair);
        println!("| {name} | {} | {} | {different} | {ratio} |", pair(costs.one), pair(costs.same));
    }
    println!();
}

fn pair(figures: Figures) -> String {
    format!("{:.2} / {:.2}", figures.min, figures.median)
}

/// With as many digits as mean something.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        v if v < 0.1 => format!("{value:.3}"),
        v if v < 10.0 => format!("{value:.2}"),
        v if v < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
