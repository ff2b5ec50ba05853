//! Frames survive the way there and back, and whatever is not a frame is told apart without a panic.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use zibrato_core::ask::{Cursor, Message};
use zibrato_core::frame::*;
use zibrato_core::histogram::{Buckets, Histogram};
use zibrato_core::trace::{Event, Hop, Mark, Verdict};

fn finite() -> impl Strategy<Value = f64> {
    prop::num::f64::NORMAL | prop::num::f64::ZERO | prop::num::f64::SUBNORMAL
}

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9._ é-]{1,20}"
}

fn tags() -> impl Strategy<Value = Tags> {
    vec((name(), name()), 0..4).prop_map(Tags::new)
}

fn buckets() -> impl Strategy<Value = Buckets> {
    vec((-4096..4096i32, 1..=u64::MAX >> 8), 0..20).prop_map(Buckets::from_pairs)
}

fn span() -> impl Strategy<Value = Option<Span>> {
    prop::option::of((finite(), finite()).prop_map(|(a, b)| Span { min: a.min(b), max: a.max(b) }))
}

fn kind_and_state() -> impl Strategy<Value = (Kind, State)> {
    let spread = |negative: bool| {
        (0..i64::MAX, finite(), span(), any::<u64>(), buckets(), buckets()).prop_map(
            move |(whole, float, span, zero, positive, other)| {
                let negative = if negative { other } else { Buckets::default() };
                let histogram = Histogram { zero, positive, negative };
                State::Spread(Spread { sum: Total { whole, float }, span, histogram })
            },
        )
    };
    let statistics = prop::option::of((any::<u64>(), finite(), span()));
    prop_oneof![
        (0..i64::MAX, finite())
            .prop_map(|(whole, f)| (Kind::Counter, State::Total(Total { whole, float: f.abs() }))),
        (any::<i64>(), finite())
            .prop_map(|(whole, float)| (Kind::Updown, State::Total(Total { whole, float }))),
        spread(false).prop_map(|s| (Kind::Timer, s)),
        spread(true).prop_map(|s| (Kind::Distribution, s)),
        (finite(), any::<u64>(), statistics).prop_map(|(value, set_at, statistics)| (
            Kind::Gauge,
            State::Gauge(Gauge { value, set_at, statistics })
        )),
        (any::<u64>(), any::<u64>(), finite())
            .prop_map(|(number, time, value)| (Kind::Point, State::Point(Point { number, time, value }))),
        (name(), name()).prop_map(|(unit, help)| {
            (Kind::Description, State::Description(Description { unit: unit.into(), help: help.into() }))
        }),
    ]
}

fn row() -> impl Strategy<Value = Row> {
    let source = prop_oneof![Just("host".to_string()), name()];
    let trace = prop::option::of(any::<u64>());
    (kind_and_state(), name(), source, tags(), any::<u64>(), trace, prop::option::of(event())).prop_map(
        |((kind, state), name, source, tags, born, trace, event)| {
            let key = Key { kind, name: name.into(), source: source.into(), tags, born };
            // Only points travel for events, and these have the name, tags and time of their point.
            let event = event.filter(|_| kind == Kind::Point).map(|mut event| {
                event.mark.key = Key { kind: event.mark.key.kind, ..key.clone() };
                if let State::Point(point) = &state {
                    event.time = point.time;
                }
                Arc::new(event)
            });
            Row { key, state, trace, event }
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let mark = (any::<[u8; 16]>(), any::<u64>(), any::<u64>(), any::<i64>(), finite(), 0..6u64);
    let told = (0..6u64, 0..5u64, prop::option::of(any::<u64>()), prop::option::of(name()));
    (mark, told).prop_map(|((id, sequence, number, whole, float, kind), (hop, verdict, one, text))| {
        let kind = Kind::from_code(kind).expect("a code");
        let key = Key { kind, name: "".into(), source: "".into(), tags: Tags::none(), born: 0 };
        let mark = Mark {
            instance: InstanceId(id),
            level: "info".into(),
            sequence,
            number,
            key,
            total: Total { whole, float },
            count: one,
        };
        Event {
            hop: Hop::from_code(hop).expect("a code"),
            verdict: Verdict::from_code(verdict).expect("a code"),
            time: 0,
            by: "host".into(),
            mark,
            backend: text.clone().map(Into::into),
            batch: one,
            why: text.map(Into::into),
        }
    })
}

fn head() -> impl Strategy<Value = Head> {
    (any::<[u8; 16]>(), any::<u64>(), 1..u64::MAX, any::<u64>(), 0..8u64).prop_map(
        |(id, started_at, sequence, later, flags)| Head {
            instance: InstanceId(id),
            started_at,
            sequence,
            base: if flags & 1 == 1 { sequence } else { sequence - 1 },
            part: 0,
            parts: 1,
            sent_at: started_at.saturating_add(later),
            flags: Flags(flags),
            source: "host".into(),
        },
    )
}

proptest! {
    #[test]
    fn set_comes_back_in_parts(head in head(), rows in vec(row(), 0..30), limit in 300..5000usize) {
        let frames = encode_set(&head, &rows, limit);
        let mut back = Vec::new();
        for (part, bytes) in frames.iter().enumerate() {
            let decoded = decode(bytes).unwrap();
            prop_assert!(decoded.skipped.is_empty(), "{:?}", decoded.skipped);
            let got = &decoded.frame.head;
            prop_assert_eq!(&decode_head(bytes).unwrap(), got);
            prop_assert_eq!((got.part as usize, got.parts as usize), (part, frames.len()));
            prop_assert_eq!(got.flags.has(Flags::TRACED), decoded.frame.rows.iter().any(|r| r.trace.is_some()));
            prop_assert!(bytes.len() <= limit || decoded.frame.rows.len() == 1);
            back.extend(decoded.frame.rows);
        }
        prop_assert_eq!(back, rows);
    }

    #[test]
    fn anything_else_is_refused_without_a_panic(bytes in vec(any::<u8>(), 0..400)) {
        let _ = decode(&bytes);
        let _ = Message::decode(&[bytes.clone(), bytes.clone(), bytes.clone()]);
        for word in ["hand", "ack", "ask", "kept", "done", "info", "told", "refused"] {
            let _ = Message::decode(&[word.as_bytes(), &bytes, &bytes, &bytes]);
        }
    }

    #[test]
    fn a_damaged_byte_never_panics_and_a_cut_frame_is_never_complete(
        head in head(), rows in vec(row(), 1..10), at in any::<prop::sample::Index>(), to in any::<u8>()
    ) {
        let mut bytes = encode_set(&head, &rows, 1 << 20).remove(0);
        let cut = &bytes[..at.index(bytes.len())];
        if let Ok(decoded) = decode(cut) {
            prop_assert!(!decoded.frame.head.is_complete());
            prop_assert!(decoded.frame.rows.len() < rows.len());
            prop_assert_eq!(&decoded.frame.rows[..], &rows[..decoded.frame.rows.len()]);
        }
        let at = at.index(bytes.len());
        bytes[at] = to;
        let _ = decode(&bytes);
    }

    #[test]
    fn ask_messages_come_back(id in any::<u64>(), boot in any::<[u8; 16]>(), levels in vec(name(), 0..5)) {
        let cursor = Cursor { boot, position: id };
        for message in [
            Message::Hand { topic: b"info|".to_vec(), frame: vec![1, 2, 3] },
            Message::Ack { instance: InstanceId(boot), level: "info".into(), sequence: id },
            Message::Ask { id, levels: levels.clone(), cursor: None, talking: false },
            Message::Ask { id, levels: levels.clone(), cursor: None, talking: true },
            Message::Ask { id, levels: levels.clone(), cursor: Some(cursor), talking: false },
            Message::Ask { id, levels, cursor: Some(cursor), talking: true },
            Message::Kept { id, index: 7, held: id, topic: b"info|".to_vec(), frame: vec![] },
            Message::Done { id, count: 3, cursor },
            Message::Info { id },
            Message::Told { id, json: "{}".into() },
            Message::Refused { why: "no".into() },
        ] {
            prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
        }
    }
}

#[test]
fn what_a_cursor_and_a_question_get_one_day_is_passed_over() {
    let mut body = vec![0x95, 7, 0x90, 0x94, 0xc4, 16];
    body.extend([3; 16]);
    // Of the cursor: its position, and an array and a string. Then of the question: talking, and a map.
    body.extend([9, 0x92, 1, 0x91, 2, 0xa2, b'n', b'o', 0xc3, 0x81, 1, 2]);
    let cursor = Some(Cursor { boot: [3; 16], position: 9 });
    let question = Message::Ask { id: 7, levels: vec![], cursor, talking: true };
    assert_eq!(Message::decode(&[&b"ask"[..], &body]), Ok(question));
    assert!(Message::decode(&[&b"ask"[..], &body[..28]]).is_err());
}

#[test]
fn one_bad_row_costs_only_itself() {
    let key = |name: &str| Key {
        kind: Kind::Gauge,
        name: name.into(),
        source: "host".into(),
        tags: Tags::none(),
        born: 1,
    };
    let row = |name: &str, value| Row {
        key: key(name),
        state: State::Gauge(Gauge { value, set_at: 2, statistics: None }),
        trace: None,
        event: None,
    };
    let head = Head {
        instance: InstanceId([7; 16]),
        started_at: 1,
        sequence: 1,
        base: 1,
        part: 0,
        parts: 1,
        sent_at: 2,
        flags: Flags::COMPLETE,
        source: "host".into(),
    };
    let rows = [row("a", 1.0), row("nan", f64::NAN), row("", 3.0), row("z", 4.0)];
    let decoded = decode(&encode_set(&head, &rows, 1 << 20)[0]).unwrap();
    assert_eq!(decoded.skipped, [BadRow::NotFinite, BadRow::BadName]);
    assert_eq!(decoded.frame.rows, [rows[0].clone(), rows[3].clone()]);
}

#[test]
fn lengths_are_not_believed() {
    // A frame whose row count says 4 billion, and one nested 10,000 deep.
    let head = [0x9b, 1, 0xc4, 16];
    let mut bytes = head.to_vec();
    bytes.extend([0; 16]);
    bytes.extend([1, 1, 1, 0, 1, 2, 1, 0xa1, b'h']);
    let mut many = bytes.clone();
    many.extend([0xdd, 0xff, 0xff, 0xff, 0xff]);
    let decoded = decode(&many).unwrap();
    assert_eq!(decoded.skipped, [BadRow::Truncated]);
    let mut deep = bytes;
    deep.push(0x91);
    deep.extend(std::iter::repeat_n(0x91, 10_000));
    assert_eq!(decode(&deep).unwrap().frame.rows, []);
    assert_eq!(decode(&[]), Err(BadFrame::Truncated));
    assert_eq!(decode(&[0x9b, 2]), Err(BadFrame::UnknownVersion));
    assert_eq!(decode(&vec![0; 2 << 20]), Err(BadFrame::TooLarge));
}
