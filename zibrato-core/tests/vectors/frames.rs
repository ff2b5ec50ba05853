//! Frames: good ones, ones with bad rows, and ones that are refused.

use std::sync::Arc;

use zibrato_core::frame::*;
use zibrato_core::histogram::Histogram;
use zibrato_core::trace::{Event, Hop, Mark, Verdict};
use zibrato_core::{level, limits};

use crate::meaning::{FrameVector, HeadMeaning, RefusedFrame, meaning};
use crate::{ID, SECOND, START, hex};

pub(crate) fn head(sequence: u64, base: u64, flags: Flags) -> Head {
    Head {
        instance: ID,
        started_at: START,
        sequence,
        base,
        part: 0,
        parts: 1,
        sent_at: START + sequence * SECOND,
        flags,
        source: "web1.example".into(),
    }
}

fn complete(sequence: u64) -> Head {
    head(sequence, sequence, Flags::COMPLETE)
}

fn row(kind: Kind, name: &str, state: State) -> Row {
    let key = Key { kind, name: name.into(), source: "web1.example".into(), tags: Tags::none(), born: START };
    Row { key, state, trace: None, event: None }
}

/// A point that travels for an event.
fn told(number: u64, event: Event) -> Row {
    let key = Key { kind: Kind::Point, ..event.mark.key.clone() };
    let state = State::Point(Point { number, time: event.time, value: event.mark.total.value() });
    Row { key, state, trace: None, event: Some(Arc::new(event)) }
}

fn published() -> Row {
    let key = counter("requests", 0, 0.0).key;
    let level = "info".into();
    let total = Total::whole(5231);
    let mark = Mark { instance: ID, level, sequence: 7, number: 3, key, total, count: None };
    told(1, Event { by: "web1.example".into(), ..Event::new(Hop::Published, mark, START + 7 * SECOND) })
}

fn refused() -> Row {
    let key = Key {
        kind: Kind::Timer,
        source: "web2.example".into(),
        tags: Tags::new([("path", "/")]),
        ..counter("render", 0, 0.0).key
    };
    let total = Total { whole: 2_500_000, float: 0.5 };
    let mark =
        Mark { instance: ID, level: "info".into(), sequence: 8, number: 4, key, total, count: Some(2) };
    let event = Event {
        by: "web1.example".into(),
        backend: Some("librato".into()),
        batch: Some(42),
        ..Event::new(Hop::Backend, mark, START + 8 * SECOND)
    };
    told(2, event.with_verdict(Verdict::Refused, Some("name is too long")))
}

pub(crate) fn counter(name: &str, whole: i64, float: f64) -> Row {
    row(Kind::Counter, name, State::Total(Total { whole, float }))
}

fn gauge(name: &str, value: f64, statistics: Option<(u64, f64, Option<Span>)>) -> Row {
    row(Kind::Gauge, name, State::Gauge(Gauge { value, set_at: START + 512_000, statistics }))
}

pub(crate) fn histogram_of(values: &[f64]) -> Histogram {
    let mut histogram = Histogram::default();
    values.iter().for_each(|v| assert!(histogram.record(*v), "{v} is refused"));
    histogram
}

fn spread(kind: Kind, name: &str, sum: Total, span: Option<Span>, values: &[f64]) -> Row {
    row(kind, name, State::Spread(Spread { sum, span, histogram: histogram_of(values) }))
}

pub(crate) fn sole(head: &Head, rows: &[Row]) -> Vec<u8> {
    let mut frames = encode_set(head, rows, limits::FRAME);
    assert_eq!(frames.len(), 1);
    frames.remove(0)
}

/// A vector of bytes that decode to exactly these rows, after which these were skipped.
fn frame(name: &'static str, bytes: &[u8], rows: &[Row], skipped: &[BadRow]) -> FrameVector {
    let decoded = decode(bytes).unwrap();
    assert_eq!(decoded.frame.rows, rows, "{name}");
    assert_eq!(decoded.skipped, skipped, "{name}");
    let head = decoded.frame.head;
    // A cut frame loses its claim to be complete; its head as sent still says it.
    let sent = decode_head(bytes).unwrap();
    let mut again = Vec::new();
    encode_head(&mut again, &head, rows.len());
    rows.iter().for_each(|row| encode_row(&mut again, row, &head.source));
    let flags = [
        (Flags::COMPLETE, "complete"),
        (Flags::LAST, "last"),
        (Flags::RETIRED, "retired"),
        (Flags::TRACED, "traced"),
    ];
    FrameVector {
        name,
        topic: level::topic(level::DEFAULT),
        hex: hex(bytes),
        exact: again == bytes,
        head: HeadMeaning {
            instance: head.instance.to_string(),
            started_at: sent.started_at,
            sequence: sent.sequence,
            base: sent.base,
            part: sent.part,
            parts: sent.parts,
            sent_at: sent.sent_at,
            flags: flags.iter().filter(|(f, _)| head.flags.has(*f)).map(|(_, word)| *word).collect(),
            source: sent.source,
        },
        rows: rows.iter().map(meaning).collect(),
        skipped: skipped.iter().map(BadRow::to_string).collect(),
    }
}

fn exact(name: &'static str, head: &Head, rows: &[Row]) -> FrameVector {
    let vector = frame(name, &sole(head, rows), rows, &[]);
    assert!(vector.exact, "{name}");
    vector
}

pub(crate) fn frames() -> Vec<FrameVector> {
    let mut vectors = vec![
        exact("a complete set of one counter", &complete(1), &[counter("requests", 3, 0.0)]),
        exact(
            "a changed-only set after complete set 1",
            &head(2, 1, Flags::default()),
            &[counter("requests", 5, 0.0)],
        ),
        exact("a changed-only set before the first complete one", &head(1, 0, Flags::default()), &[]),
        exact(
            "counters: whole, fractional, both, beyond 32 bits, zero",
            &complete(3),
            &[
                counter("whole", 128, 0.0),
                counter("fractional", 0, 0.75),
                counter("both", 7, 2.5),
                counter("large", 1 << 62, 0.0),
                counter("zero", 0, 0.0),
            ],
        ),
        exact(
            "updown counters",
            &complete(4),
            &[
                row(Kind::Updown, "connections", State::Total(Total::whole(-3))),
                row(Kind::Updown, "balance", State::Total(Total { whole: 40_000, float: -0.5 })),
            ],
        ),
        exact(
            "a timer: 0, 1 ms, 1 ms and 2.5 s, in nanoseconds",
            &complete(5),
            &[spread(
                Kind::Timer,
                "render",
                Total::whole(2_502_000_000),
                Some(Span { min: 0.0, max: 2.5e9 }),
                &[0.0, 1e6, 1e6, 2.5e9],
            )],
        ),
        exact(
            "a timer without values in the last interval, and one without any",
            &complete(6),
            &[
                spread(Kind::Timer, "quiet", Total::whole(1_000_000), None, &[1e6]),
                spread(Kind::Timer, "never", Total::default(), None, &[]),
            ],
        ),
        exact(
            "a distribution with values on both sides of zero",
            &complete(7),
            &[spread(
                Kind::Distribution,
                "error_mm",
                Total { whole: 2, float: -1.75 },
                Some(Span { min: -2.0, max: 2.0 }),
                &[-2.0, -0.25, 0.0, 0.5, 2.0],
            )],
        ),
        exact(
            "gauges: without and with statistics, and with statistics but none in the last interval",
            &complete(8),
            &[
                gauge("queue", 12.0, None),
                gauge("load", 0.25, Some((4, 3.5, Some(Span { min: 0.25, max: 2.0 })))),
                gauge("idle", -1.5, Some((1, -1.5, None))),
            ],
        ),
        exact(
            "points",
            &complete(9),
            &[
                row(
                    Kind::Point,
                    "river_level",
                    State::Point(Point { number: 1, time: START - 3600 * SECOND, value: 2.75 }),
                ),
                row(
                    Kind::Point,
                    "river_level",
                    State::Point(Point { number: 2, time: START - 1800 * SECOND, value: 3.0 }),
                ),
            ],
        ),
        exact("what hops tell of a marked row", &complete(9), &[published(), refused()]),
        exact(
            "a description",
            &complete(10),
            &[row(
                Kind::Description,
                "render",
                State::Description(Description { unit: "s".into(), help: "Time to render a page.".into() }),
            )],
        ),
        exact(
            "the last set",
            &head(12, 12, Flags::COMPLETE.with(Flags::LAST)),
            &[counter("requests", 9, 0.0)],
        ),
        exact("a retired set", &head(13, 12, Flags::RETIRED), &[counter("job_42_steps", 1000, 0.0)]),
    ];
    let mut own = counter("requests", 1, 0.0);
    own.key.source = "web2.example".into();
    let mut tagged = counter("requests", 2, 0.0);
    tagged.key.tags = Tags::new([("status", "200"), ("method", "GET")]);
    tagged.key.born = START + 5 * SECOND;
    let mut wide = counter("größe", 3, 0.0);
    wide.key.tags = Tags::new([("ort", "Zürich")]);
    vectors.push(exact(
        "a source of its own, tags, a later birth, UTF-8",
        &complete(14),
        &[own.clone(), tagged, wide],
    ));
    let mut traced = counter("requests", 4, 0.0);
    traced.trace = Some(77);
    let mut both = own;
    both.trace = Some(78);
    let flags = Flags::COMPLETE.with(Flags::TRACED);
    vectors.push(exact("traced rows", &head(15, 15, flags), &[traced, both]));

    let rows = [counter("first", 1, 0.0), counter("second", 2, 0.0)];
    let parts = encode_set(&complete(16), &rows, 170);
    assert_eq!(parts.len(), 2);
    vectors.push(frame("part 0 of a set of two parts", &parts[0], &rows[..1], &[]));
    vectors.push(frame("part 1 of a set of two parts", &parts[1], &rows[1..], &[]));

    vectors.extend(odd_frames());
    vectors
}

/// Frames of a later minor change, or with damage, that a receiver must get the good rows out of.
fn odd_frames() -> Vec<FrameVector> {
    let good = [counter("before", 1, 0.0), counter("after", 2, 0.0)];
    let between = |name: &'static str, bad: &[u8], why: &[BadRow]| {
        let mut bytes = Vec::new();
        encode_head(&mut bytes, &complete(17), 3);
        encode_row(&mut bytes, &good[0], "web1.example");
        bytes.extend(bad);
        encode_row(&mut bytes, &good[1], "web1.example");
        frame(name, &bytes, &good, why)
    };
    let encoded = |row: &Row| {
        let mut bytes = Vec::new();
        encode_row(&mut bytes, row, "web1.example");
        bytes
    };
    let mut future = encoded(&counter("x", 1, 0.0));
    assert_eq!((future[0], future[1]), (0x95, 0));
    future[1] = 99;
    let reversed = spread(Kind::Timer, "x", Total::whole(1), Some(Span { min: 2.0, max: 1.0 }), &[1.0]);
    let mut many = counter("x", 1, 0.0);
    many.key.tags = Tags::new((0..17).map(|i| (format!("t{i}"), "v")));
    let mut vectors = vec![
        between("a row of an unknown kind is skipped", &future, &[BadRow::UnknownKind]),
        between("a row that is no array is skipped", &[0xa1, b'x'], &[BadRow::WrongType]),
        between("a row with too few items is skipped", &[0x92, 0x00, 0xa1, b'x'], &[BadRow::WrongType]),
        between("a NaN is skipped", &encoded(&gauge("x", f64::NAN, None)), &[BadRow::NotFinite]),
        between("an infinity is skipped", &encoded(&gauge("x", f64::INFINITY, None)), &[BadRow::NotFinite]),
        between("an empty name is skipped", &encoded(&counter("", 1, 0.0)), &[BadRow::BadName]),
        between(
            "a name with a control character is skipped",
            &encoded(&counter("a\nb", 1, 0.0)),
            &[BadRow::BadName],
        ),
        between("a counter below zero is skipped", &encoded(&counter("x", -1, 0.0)), &[BadRow::Impossible]),
        between("a minimum above the maximum is skipped", &encoded(&reversed), &[BadRow::Impossible]),
        between("more than 16 tags are skipped", &encoded(&many), &[BadRow::BadTags]),
    ];

    // The same frame in other MessagePack forms: wider integers, a 32-bit float, trailing items everywhere.
    let mut bytes = vec![0xdc, 0, 12, 0xcc, 1, 0xc5, 0, 16];
    bytes.extend(ID.0);
    for n in [START, 18, 18, 0, 1, START + 18 * SECOND, 1] {
        bytes.push(0xcf);
        bytes.extend(n.to_be_bytes());
    }
    bytes.extend([0xd9, 12]);
    bytes.extend(b"web1.example");
    bytes.extend([0xdc, 0, 1]); // one row
    bytes.extend([0x98, 0xd0, 4, 0xda, 0, 1, b'g', 0xde, 0, 0, 0xcf]);
    bytes.extend(START.to_be_bytes());
    bytes.extend([0x93, 0xca]); // the state with an item too many
    bytes.extend(1.5f32.to_be_bytes());
    bytes.push(0xcf);
    bytes.extend((START + 512_000).to_be_bytes());
    bytes.extend([0xa5, b'l', b'a', b't', b'e', b'r']);
    bytes.extend([0xc0, 0xc0, 0x81, 0xa1, b'k', 0x90]); // no source, no trace, something of the future
    bytes.extend([0xa3, b'e', b'n', b'd']); // the head's item too many
    vectors.push(frame(
        "other forms of the same items, and items of the future",
        &bytes,
        &[gauge("g", 1.5, None)],
        &[],
    ));

    let whole = sole(&complete(19), &good);
    let cut = &whole[..whole.len() - 4];
    let mut vector = frame(
        "cut short: the whole rows count, the set is not complete",
        cut,
        &good[..1],
        &[BadRow::Truncated],
    );
    vector.exact = false;
    vectors.push(vector);
    vectors
}

pub(crate) fn refused_frames() -> Vec<RefusedFrame> {
    let good = sole(&complete(1), &[counter("requests", 3, 0.0)]);
    let changed = |change: &dyn Fn(&mut Head)| {
        let mut head = complete(3);
        change(&mut head);
        let mut bytes = Vec::new();
        encode_head(&mut bytes, &head, 0);
        bytes
    };
    let mut version = good.clone();
    version[1] = 2;
    let mut short_id = good.clone();
    short_id[3] = 15;
    let few = [0x92, 0x01, 0xc0];
    let vectors: Vec<(&'static str, Vec<u8>, BadFrame)> = vec![
        ("nothing", vec![], BadFrame::Truncated),
        ("only half of the head", good[..20].to_vec(), BadFrame::Truncated),
        ("a head with too few items", few.to_vec(), BadFrame::Truncated),
        ("another version", version, BadFrame::UnknownVersion),
        ("no array", b"\xa4text".to_vec(), BadFrame::WrongType),
        ("an id of 15 bytes", short_id, BadFrame::WrongType),
        ("sequence 0", changed(&|h| (h.sequence, h.base) = (0, 0)), BadFrame::Impossible),
        ("part 1 of 1", changed(&|h| h.part = 1), BadFrame::Impossible),
        ("0 parts", changed(&|h| h.parts = 0), BadFrame::Impossible),
        ("more than 4096 parts", changed(&|h| h.parts = 4097), BadFrame::Impossible),
        ("a base beyond the sequence", changed(&|h| h.base = 4), BadFrame::Impossible),
        ("complete, with an older base", changed(&|h| h.base = 2), BadFrame::Impossible),
        ("not complete, with itself as base", changed(&|h| h.flags = Flags(0)), BadFrame::Impossible),
        ("sent before it started", changed(&|h| h.sent_at = START - 256), BadFrame::Impossible),
        ("an empty source", changed(&|h| h.source.clear()), BadFrame::BadName),
        ("a source of 256 bytes", changed(&|h| h.source = "s".repeat(256)), BadFrame::BadName),
    ];
    let refused = vectors.into_iter().map(|(name, bytes, why)| {
        assert_eq!(decode(&bytes), Err(why), "{name}");
        assert_eq!(decode_head(&bytes), Err(why), "{name}");
        RefusedFrame { name, hex: hex(bytes), why: why.to_string() }
    });
    refused.collect()
}
