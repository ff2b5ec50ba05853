//! The live view: totals, rates and the last seconds of every metric.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use zibrato_core::frame::Kind;
use zibrato_core::ledger::Change;
use zibrato_transport::Broker;

use crate::figures::{Figure, Figures, Series, absorb, add_up};
use crate::listener::Listener;
use crate::number;
use crate::output::{self, BAD, DIM, GOOD, HEADING, styled};
use crate::table::{Column, Table};
use crate::tail::in_unit;

/// How many steps of the past are shown.
const PAST: usize = 20;
/// Over how many steps a rate is taken.
const RATE: usize = 4;
/// How often the table is printed where there is no terminal to draw on.
const PRINT: Duration = Duration::from_secs(5);
/// A terminal with fewer columns is printed on, not drawn on.
const NARROWEST: usize = 80;

/// A metric's total, and how much of it came in which step.
struct Row {
    total: Change,
    past: VecDeque<f64>,
}

/// Everything that has arrived.
pub(super) struct View {
    listener: Listener,
    broker: String,
    rows: BTreeMap<Series, Row>,
    started: Instant,
    updated: Instant,
    /// How long the last steps took, in seconds.
    steps: VecDeque<f64>,
    /// How many lines of the terminal have been drawn on.
    drawn: usize,
    printed: Instant,
}

impl View {
    pub(super) fn new(listener: Listener, broker: &Broker) -> View {
        let now = Instant::now();
        View {
            listener,
            broker: broker.to_string(),
            rows: BTreeMap::new(),
            started: now,
            updated: now,
            steps: VecDeque::new(),
            drawn: 0,
            printed: now,
        }
    }

    /// Takes in the next message. May be dropped without losing one.
    pub(super) async fn hear(&mut self) {
        self.listener.hear().await;
    }

    /// What has arrived in all.
    pub(super) fn totals(&self) -> impl Iterator<Item = (&Series, &Change)> {
        self.rows.iter().map(|(series, row)| (series, &row.total))
    }

    /// Ends a step.
    pub(super) fn update(&mut self) {
        let mut news = add_up(self.listener.settle()).sums;
        let now = Instant::now();
        keep(&mut self.steps, (now - self.updated).as_secs_f64());
        self.updated = now;
        for (series, row) in &mut self.rows {
            let new = news.remove(series);
            let amount = new.as_ref().map_or(0.0, |new| amount(series.kind, new));
            if let Some(new) = new {
                follow(&mut row.total, new);
            }
            keep(&mut row.past, if is_a_value(series.kind) { amount_now(&row.total) } else { amount });
        }
        for (series, new) in news {
            let first = if is_a_value(series.kind) { amount_now(&new) } else { amount(series.kind, &new) };
            self.rows.insert(series, Row { total: new, past: VecDeque::from([first]) });
        }
    }

    /// What to write, if it is time to: on a terminal the view takes its own place.
    pub(super) fn draw(&mut self) -> Option<String> {
        let terminal = output::terminal_size().filter(|(columns, _)| *columns >= NARROWEST);
        let Some((columns, rows)) = terminal else {
            if self.printed.elapsed() < PRINT {
                return None;
            }
            self.printed = Instant::now();
            return Some(self.text(None) + "\n");
        };
        let text = self.text(Some(columns));
        let most = rows.saturating_sub(1).max(1);
        let text: String = text.split_inclusive('\n').take(most).collect();
        let up = if self.drawn > 0 { format!("\x1b[{}A\x1b[J", self.drawn) } else { String::new() };
        self.drawn = text.matches('\n').count();
        Some(up + &text)
    }

    fn text(&self, columns: Option<usize>) -> String {
        let mut out = format!(
            "{}  {}\n\n",
            styled(HEADING, "zibrato demo"),
            styled(
                DIM,
                &format!(
                    "{} · broker {} · Ctrl-C ends",
                    number::span(self.started.elapsed().as_secs_f64()),
                    self.broker
                )
            )
        );
        let (wide, middling) = (columns.is_none_or(|c| c >= 126), columns.is_none_or(|c| c >= 100));
        let mut table = Table::new([
            Column::left("LEVEL"),
            Column::left("KIND"),
            Column::left("NAME"),
            Column::left("TAGS"),
            Column::right("PER SECOND"),
            Column::right("TOTAL"),
            Column::right("P50"),
            Column::right("P99"),
            Column::right("LAST 10 S"),
        ]);
        for (series, row) in &self.rows {
            let figures = Figures::of(series.kind, &row.total);
            let unit = |value: Option<f64>| {
                value.map(|v| in_unit(series.kind, self.listener.unit(&series.name), v)).unwrap_or_default()
            };
            let total = match series.kind {
                Kind::Gauge => figures.last.map(number::plain),
                Kind::Updown => figures.sum.map(|sum| number::count(sum.value())),
                _ => figures.count.map(|count| number::count(count.value())),
            };
            let rate = if is_a_value(series.kind) { String::new() } else { self.rate(row) };
            table.row([
                if middling { series.level.to_string() } else { String::new() },
                series.kind.to_string(),
                series.name.to_string(),
                series.tags.to_string(),
                rate,
                total.unwrap_or_default(),
                unit(figures.p50),
                unit(figures.p99),
                if wide { sparks(&row.past) } else { String::new() },
            ]);
        }
        let widths = table.fitted(table.widths(&[0; 9]), columns);
        let levels: Vec<&str> = self.rows.keys().map(|series| &*series.level).collect();
        out += &table.text(&widths, true, |row, column, text| match column {
            0 if levels.get(row) == Some(&"error") => styled(BAD, &text),
            0 | 1 => styled(DIM, &text),
            8 => styled(GOOD, &text),
            _ => text,
        });
        out
    }

    fn rate(&self, row: &Row) -> String {
        let amount: f64 = row.past.iter().rev().take(RATE).sum();
        let time: f64 = self.steps.iter().rev().take(RATE).sum();
        number::count((amount / time.max(0.001)).round())
    }
}

fn keep(past: &mut VecDeque<f64>, new: f64) {
    past.push_back(new);
    while past.len() > PAST {
        past.pop_front();
    }
}

/// Whether the metric is a value that goes up and down, rather than something that happens.
fn is_a_value(kind: Kind) -> bool {
    matches!(kind, Kind::Gauge | Kind::Updown)
}

/// How much happened.
fn amount(kind: Kind, change: &Change) -> f64 {
    Figures::of(kind, change).count.map_or(0.0, Figure::value)
}

/// Where a value is.
fn amount_now(total: &Change) -> f64 {
    match total {
        Change::Total(total) => total.value(),
        Change::Gauge { last, .. } => *last,
        _ => 0.0,
    }
}

/// Bars as high as the highest one allows.
fn sparks(past: &VecDeque<f64>) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = past.iter().copied().fold(0.0, f64::max);
    let bar = |value: &f64| match most > 0.0 {
        true => BARS[((value.max(0.0) / most * 7.0).round() as usize).min(7)],
        false => BARS[0],
    };
    past.iter().map(bar).collect()
}

/// Adds what the one program of the demo did later. When a gauge was set is an estimate, as exact as frames are prompt; of
/// one program the later value is the newer in any case.
fn follow(total: &mut Change, later: Change) {
    if let (Change::Gauge { set_at, .. }, Change::Gauge { set_at: later, .. }) = (&mut *total, &later) {
        *set_at = (*set_at).min(*later);
    }
    absorb(total, later);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_value_is_the_newer_also_where_the_earlier_frame_came_late() {
        let gauge = |last, set_at| Change::Gauge { last, set_at, statistics: None };
        let mut total = gauge(1.0, 20);
        follow(&mut total, gauge(2.0, 10));
        assert_eq!(amount_now(&total), 2.0);
    }
}
