use rmp::encode as mp;

use super::{Flags, Head, Row, Span, State, Tags, Total, VERSION};
use crate::histogram::Buckets;
use crate::trace::Event;

// Writing into a `Vec` cannot fail, so the results of the writers are dropped throughout.
macro_rules! put {
    ($($write:expr),+ $(,)?) => {{ $( let _ = $write; )+ }};
}

/// Appends a frame's head, to be followed by `rows` rows.
pub fn encode_head(out: &mut Vec<u8>, head: &Head, rows: usize) {
    put!(
        mp::write_array_len(out, 11),
        mp::write_uint(out, VERSION),
        mp::write_bin(out, &head.instance.0),
        mp::write_uint(out, head.started_at),
        mp::write_uint(out, head.sequence),
        mp::write_uint(out, head.base),
        mp::write_uint(out, u64::from(head.part)),
        mp::write_uint(out, u64::from(head.parts)),
        mp::write_uint(out, head.sent_at),
        mp::write_uint(out, head.flags.0),
        mp::write_str(out, &head.source),
        mp::write_array_len(out, rows as u32),
    );
}

/// Appends a row; its source is written only where it is not `source`, the head's.
pub fn encode_row(out: &mut Vec<u8>, row: &Row, source: &str) {
    let own_source = *row.key.source != *source;
    let items = match row {
        Row { event: Some(_), .. } => 8,
        Row { trace: Some(_), .. } => 7,
        _ => 5 + u32::from(own_source),
    };
    put!(
        mp::write_array_len(out, items),
        mp::write_uint(out, row.key.kind as u64),
        mp::write_str(out, &row.key.name),
        encode_tags(out, &row.key.tags),
        mp::write_uint(out, row.key.born),
        encode_state(out, &row.state),
    );
    if own_source {
        put!(mp::write_str(out, &row.key.source));
    } else if items > 5 {
        put!(mp::write_nil(out));
    }
    match row.trace {
        Some(number) => put!(mp::write_uint(out, number)),
        None if items > 7 => put!(mp::write_nil(out)),
        None => {}
    }
    if let Some(event) = &row.event {
        encode_event(out, event);
    }
}

/// What of an event is not in its row: name, tags, `born` and the source are the row's, time and value the point's.
fn encode_event(out: &mut Vec<u8>, event: &Event) {
    let mark = &event.mark;
    put!(
        mp::write_array_len(out, 12),
        mp::write_uint(out, event.hop as u64),
        mp::write_uint(out, event.verdict as u64),
        mp::write_bin(out, &mark.instance.0),
        mp::write_str(out, &mark.level),
        mp::write_uint(out, mark.sequence),
        mp::write_uint(out, mark.number),
        mp::write_uint(out, mark.key.kind as u64),
        encode_state(out, &State::Total(mark.total)),
    );
    for number in [mark.count, event.batch] {
        match number {
            Some(number) => put!(mp::write_uint(out, number)),
            None => put!(mp::write_nil(out)),
        }
    }
    for text in [&event.backend, &event.why] {
        match text {
            Some(text) => put!(mp::write_str(out, text)),
            None => put!(mp::write_nil(out)),
        }
    }
}

/// Encodes a set: one frame, or as many parts as keep each within `limit` bytes.
///
/// `head` gives everything but `part`, `parts` and the flag for traced rows, which are filled in. A set without
/// rows is one frame. A single row larger than the limit makes a frame of its own that passes it.
pub fn encode_set<'a>(head: &Head, rows: impl IntoIterator<Item = &'a Row>, limit: usize) -> Vec<Vec<u8>> {
    let room = limit.saturating_sub(128 + head.source.len()).max(1);
    let mut chunks: Vec<(Vec<u8>, usize, bool)> = vec![(Vec::new(), 0, false)];
    let mut bytes = Vec::new();
    for row in rows {
        bytes.clear();
        encode_row(&mut bytes, row, &head.source);
        if chunks.last().is_none_or(|(chunk, n, _)| *n > 0 && chunk.len() + bytes.len() > room) {
            chunks.push((Vec::new(), 0, false));
        }
        if let Some((chunk, n, traced)) = chunks.last_mut() {
            chunk.extend_from_slice(&bytes);
            *n += 1;
            *traced |= row.trace.is_some();
        }
    }
    let parts = chunks.len() as u32;
    let frames = chunks.iter().enumerate().map(|(part, (chunk, n, traced))| {
        let flags = if *traced { head.flags.with(Flags::TRACED) } else { head.flags };
        let head = Head { part: part as u32, parts, flags, ..head.clone() };
        let mut out = Vec::with_capacity(chunk.len() + 128 + head.source.len());
        encode_head(&mut out, &head, *n);
        out.extend_from_slice(chunk);
        out
    });
    frames.collect()
}

fn encode_tags(out: &mut Vec<u8>, tags: &Tags) {
    put!(mp::write_map_len(out, tags.len() as u32));
    for (name, value) in tags.iter() {
        put!(mp::write_str(out, name), mp::write_str(out, value));
    }
}

/// Appends the state of a row, as it is inside the row; [`decode_state`](super::decode_state) reads it.
pub fn encode_state(out: &mut Vec<u8>, state: &State) {
    match state {
        State::Total(total) => {
            put!(mp::write_array_len(out, if total.float == 0.0 { 1 } else { 2 }));
            encode_total(out, *total);
        }
        State::Spread(spread) => {
            let histogram = &spread.histogram;
            put!(mp::write_array_len(out, if histogram.negative.is_empty() { 6 } else { 7 }));
            put!(mp::write_sint(out, spread.sum.whole), mp::write_f64(out, spread.sum.float));
            encode_span(out, spread.span);
            put!(mp::write_uint(out, histogram.zero));
            encode_buckets(out, &histogram.positive);
            if !histogram.negative.is_empty() {
                encode_buckets(out, &histogram.negative);
            }
        }
        State::Gauge(gauge) => {
            put!(mp::write_array_len(out, if gauge.statistics.is_some() { 6 } else { 2 }));
            put!(mp::write_f64(out, gauge.value), mp::write_uint(out, gauge.set_at));
            if let Some((count, sum, span)) = gauge.statistics {
                put!(mp::write_uint(out, count), mp::write_f64(out, sum));
                encode_span(out, span);
            }
        }
        State::Point(point) => put!(
            mp::write_array_len(out, 3),
            mp::write_uint(out, point.number),
            mp::write_uint(out, point.time),
            mp::write_f64(out, point.value),
        ),
        State::Description(d) => {
            put!(mp::write_array_len(out, 2), mp::write_str(out, &d.unit), mp::write_str(out, &d.help),)
        }
    }
}

fn encode_total(out: &mut Vec<u8>, total: Total) {
    put!(mp::write_sint(out, total.whole));
    if total.float != 0.0 {
        put!(mp::write_f64(out, total.float));
    }
}

fn encode_span(out: &mut Vec<u8>, span: Option<Span>) {
    match span {
        Some(Span { min, max }) => put!(mp::write_f64(out, min), mp::write_f64(out, max)),
        None => put!(mp::write_nil(out), mp::write_nil(out)),
    }
}

fn encode_buckets(out: &mut Vec<u8>, buckets: &Buckets) {
    put!(mp::write_array_len(out, 2 * buckets.pairs().len() as u32));
    let mut last = 0;
    for &(index, count) in buckets.pairs() {
        put!(mp::write_sint(out, i64::from(index - last)), mp::write_uint(out, count));
        last = index;
    }
}
