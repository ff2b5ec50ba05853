//! A table that goes on and on.

use zibrato_core::frame::Kind;

use super::Seen;
use crate::figures::Figure;
use crate::number;
use crate::output::{BAD, DIM, styled};
use crate::table::{Column, Table};

const COLUMNS: [Column; 14] = [
    Column::left("TIME"),
    Column::left("LEVEL"),
    Column::left("KIND"),
    Column::left("NAME"),
    Column::left("SOURCE"),
    Column::left("TAGS"),
    Column::right("COUNT"),
    Column::right("SUM"),
    Column::right("MIN"),
    Column::right("MAX"),
    Column::right("LAST"),
    Column::right("P50"),
    Column::right("P90"),
    Column::right("P99"),
];
/// After so many rows the headings are printed again, where the terminal does not say.
const AGAIN: usize = 40;

/// What stays from one piece of the table to the next.
#[derive(Debug, Default)]
pub(super) struct Rows {
    widths: [usize; 14],
    since_headings: Option<usize>,
}

impl Rows {
    /// The next piece.
    pub(super) fn text(&mut self, all: &[Seen<'_>], terminal: Option<(usize, usize)>) -> String {
        let mut table = Table::new(COLUMNS);
        for seen in all {
            table.row(cells(seen));
        }
        let widths = table.widths(&self.widths);
        let again = terminal.map_or(AGAIN, |(_, rows)| rows.saturating_sub(2).max(10));
        let headings =
            widths != self.widths || self.since_headings.is_none_or(|rows| rows + all.len() > again);
        self.widths = widths;
        let printed = if headings { 0 } else { self.since_headings.unwrap_or(0) };
        self.since_headings = Some(printed + all.len());
        let shown = table.fitted(widths, terminal.map(|(columns, _)| columns));
        table.text(&shown, headings, |row, column, text| match column {
            0 | 4 => styled(DIM, &text),
            1 if matches!(&*all[row].series.level, "error" | "critical") => styled(BAD, &text),
            _ => text,
        })
    }
}

fn cells(seen: &Seen<'_>) -> [String; 14] {
    let (series, figures) = (seen.series, &seen.figures);
    let value = |value: f64| in_unit(series.kind, seen.unit, value);
    let text = |figure: Option<f64>| figure.map(value).unwrap_or_default();
    // A counter's sum is its count again.
    let sum = figures.sum.filter(|_| series.kind != Kind::Counter);
    [
        time_of_day(seen.time),
        series.level.to_string(),
        series.kind.to_string(),
        series.name.to_string(),
        series.source.to_string(),
        series.tags.to_string(),
        figures.count.map(|count| number::count(count.value())).unwrap_or_default(),
        text(sum.map(Figure::value)),
        text(figures.min),
        text(figures.max),
        text(figures.last),
        text(figures.p50),
        text(figures.p90),
        text(figures.p99),
    ]
}

/// A value as its metric's unit has it.
pub(crate) fn in_unit(kind: Kind, unit: &str, value: f64) -> String {
    match unit {
        _ if kind == Kind::Timer => number::seconds(value),
        "s" => number::seconds(value),
        "By" => number::bytes(value),
        _ => number::plain(value),
    }
}

/// A time in nanoseconds since 1970 as hours, minutes and seconds UTC.
fn time_of_day(nanos: u64) -> String {
    let seconds = nanos / 1_000_000_000 % 86_400;
    format!("{:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
