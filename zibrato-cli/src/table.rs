//! Tables of text, as wide as they need to be and no wider than the terminal.

use unicode_width::UnicodeWidthStr;

use crate::output::{HEADING, styled};

/// Between two columns.
const GAP: usize = 2;
/// No column is made narrower than this to fit a terminal.
const NARROW: usize = 10;

/// A column's heading, and to which side its cells go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    heading: &'static str,
    right: bool,
}

impl Column {
    /// Of words.
    pub(crate) const fn left(heading: &'static str) -> Column {
        Column { heading, right: false }
    }

    /// Of numbers.
    pub(crate) const fn right(heading: &'static str) -> Column {
        Column { heading, right: true }
    }
}

/// Rows under headings. A column in which all cells are empty is left out.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    columns: [Column; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(crate) fn new(columns: [Column; N]) -> Self {
        Table { columns, rows: Vec::new() }
    }

    /// Adds a row; a line break or a control character in a cell is shown, not obeyed.
    pub(crate) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| match cell.contains(char::is_control) {
            true => cell.escape_debug().to_string(),
            false => cell,
        }));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How wide the columns must be, and at least as `before`; 0 is for one that is not shown.
    pub(crate) fn widths(&self, before: &[usize; N]) -> [usize; N] {
        std::array::from_fn(|column| {
            let cells = self.rows.iter().map(|row| row[column].width()).max().unwrap_or(0);
            let heading = if cells > 0 { self.columns[column].heading.width() } else { 0 };
            cells.max(heading).max(before[column])
        })
    }

    /// Narrower columns where these are together wider than `limit`.
    pub(crate) fn fitted(&self, mut widths: [usize; N], limit: Option<usize>) -> [usize; N] {
        let total = |widths: &[usize; N]| {
            widths.iter().sum::<usize>() + GAP * widths.iter().filter(|w| **w > 0).count().saturating_sub(1)
        };
        // Words can be shortened, numbers cannot.
        while limit.is_some_and(|limit| total(&widths) > limit) {
            let words = (0..N).filter(|&column| !self.columns[column].right && widths[column] > NARROW);
            let Some(widest) = words.max_by_key(|&column| widths[column]) else { break };
            widths[widest] -= 1;
        }
        widths
    }

    /// The whole text, no wider than `limit` where that is possible.
    pub(crate) fn render(&self, limit: Option<usize>) -> String {
        self.text(&self.fitted(self.widths(&[0; N]), limit), true, |_, _, text| text)
    }

    /// The text with columns of these widths, each padded cell of `(row, column)` passed through `style`.
    pub(crate) fn text(
        &self,
        widths: &[usize; N],
        headings: bool,
        style: impl Fn(usize, usize, String) -> String,
    ) -> String {
        let shown: Vec<usize> = (0..N).filter(|&column| widths[column] > 0).collect();
        let last = shown.last().copied();
        let line = |cell: &dyn Fn(usize) -> String| {
            let cells: Vec<String> = shown.iter().map(|&column| cell(column)).collect();
            cells.join(&" ".repeat(GAP)).trim_end().to_string() + "\n"
        };
        let pad = |column: usize, text: &str| {
            let text = shortened(text, widths[column]);
            let blank = " ".repeat(widths[column].saturating_sub(text.width()));
            match self.columns[column].right {
                true => blank + &text,
                false if Some(column) == last => text,
                false => text + &blank,
            }
        };
        let mut out = String::new();
        if headings {
            out += &line(&|column| styled(HEADING, &pad(column, self.columns[column].heading)));
        }
        for (row, cells) in self.rows.iter().enumerate() {
            out += &line(&|column| style(row, column, pad(column, &cells[column])));
        }
        out
    }
}

fn shortened(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.into();
    }
    let mut short = String::new();
    for c in text.chars() {
        if short.width() + UnicodeWidthStr::width(c.to_string().as_str()) >= width {
            break;
        }
        short.push(c);
    }
    short + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_their_cells_and_the_terminal() {
        let mut table = Table::new([Column::left("NAME"), Column::left("NONE"), Column::right("N")]);
        table.row(["größer als gedacht".into(), String::new(), "1".into()]);
        table.row(["b\n".into(), String::new(), "22".into()]);
        let plain = |text: String| anstream::adapter::strip_str(&text).to_string();
        assert_eq!(
            plain(table.render(None)),
            "NAME                 N\ngrößer als gedacht   1\nb\\n                 22\n"
        );
        assert_eq!(plain(table.render(Some(16))), "NAME           N\ngrößer als …   1\nb\\n           22\n");
    }
}
