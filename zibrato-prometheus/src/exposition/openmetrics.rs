//! OpenMetrics text, version 1.0.0.
//!
//! Source: OpenMetrics 1.0, "Text format".

use std::fmt::Write as _;

use super::text::{histogram, sample};
use super::{Family, Style, escape, number};
use crate::family::{Type, stem};

pub(super) fn render(families: &[Family], style: &Style) -> String {
    let mut out = String::with_capacity(64 * families.len());
    for Family { head, series } in families {
        let name = if head.of == Type::Counter { stem(&head.name) } else { &head.name };
        let _ = writeln!(out, "# TYPE {name} {}", head.of.name());
        if !head.unit.is_empty() {
            let _ = writeln!(out, "# UNIT {name} {}", head.unit);
        }
        if !head.help.is_empty() {
            let _ = write!(out, "# HELP {name} ");
            escape(&head.help, true, &mut out);
            out.push('\n');
        }
        // A sum may fall where values are negative: then there must be none, and no count either.
        let negative = style.classic.of(head.scale).values().first().is_some_and(|&bound| bound < 0.0);
        let endings: &[&str] = if negative { &[] } else { &["_count", "_sum"] };
        for one in series {
            match head.of {
                Type::Histogram => histogram(head, one, style, number::canonical_bound, endings, &mut out),
                Type::Counter => {
                    sample(name, "_total", one, None, &number::single(&one.value), &mut out);
                }
                Type::Gauge => sample(name, "", one, None, &number::single(&one.value), &mut out),
            }
            if style.created && head.of != Type::Gauge && one.since > 0 {
                sample(name, "_created", one, None, &number::timestamp(one.since), &mut out);
            }
        }
    }
    out.push_str("# EOF\n");
    out
}
