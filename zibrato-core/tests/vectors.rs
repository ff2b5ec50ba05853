//! `docs/wire-vectors.json`, which clients in other languages test themselves with, is what this crate does.
//!
//! `ZIBRATO_BLESS=1 cargo test -p zibrato-core --test vectors` writes the file anew.

#![allow(clippy::unwrap_used, reason = "a test; helpers outside #[test] functions are not told apart")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use zibrato_core::ask::{Cursor, Message};
use zibrato_core::frame::*;
use zibrato_core::histogram::{self, Buckets, Histogram, Place};
use zibrato_core::{level, limits};

/// 2026-01-02 03:04:05 UTC. All times are multiples of 256 ns, so that a JSON reader that has only floating
/// point numbers reads them right.
const START: u64 = 1_767_323_045_000_000_000;
const SECOND: u64 = 1_000_000_000;
const ID: InstanceId = InstanceId(*b"0123456789abcdef");
const BOOT: [u8; 16] = [0xb0; 16];

#[derive(Serialize)]
struct FrameVector {
    name: &'static str,
    topic: String,
    hex: String,
    /// Whether encoding what is below gives these very bytes.
    exact: bool,
    head: HeadMeaning,
    rows: Vec<RowMeaning>,
    skipped: Vec<String>,
}

#[derive(Serialize)]
struct HeadMeaning {
    instance: String,
    started_at: u64,
    sequence: u64,
    base: u64,
    part: u32,
    parts: u32,
    sent_at: u64,
    flags: Vec<&'static str>,
    source: String,
}

#[derive(Serialize)]
struct RowMeaning {
    kind: &'static str,
    name: String,
    source: String,
    tags: BTreeMap<String, String>,
    born: u64,
    trace: Option<u64>,
    state: StateMeaning,
}

#[derive(Serialize)]
#[serde(untagged)]
enum StateMeaning {
    Total(TotalMeaning),
    Spread {
        sum: TotalMeaning,
        min: Option<f64>,
        max: Option<f64>,
        zero: u64,
        positive: Vec<(i32, u64)>,
        negative: Vec<(i32, u64)>,
        count: u64,
    },
    Gauge {
        value: f64,
        set_at: u64,
        statistics: Option<StatisticsMeaning>,
    },
    Point {
        number: u64,
        time: u64,
        value: f64,
    },
    Description {
        unit: String,
        help: String,
    },
}

#[derive(Serialize)]
struct TotalMeaning {
    whole: i64,
    float: f64,
}

#[derive(Serialize)]
struct StatisticsMeaning {
    count: u64,
    sum: f64,
    min: Option<f64>,
    max: Option<f64>,
}

#[derive(Serialize)]
struct RefusedFrame {
    name: &'static str,
    hex: String,
    why: String,
}

#[derive(Serialize)]
struct AskVector {
    name: &'static str,
    parts: Vec<String>,
    #[serde(flatten)]
    message: MessageMeaning,
}

#[derive(Serialize)]
#[serde(tag = "word", rename_all = "lowercase")]
enum MessageMeaning {
    Hand { topic: String, frame: String },
    Ack { instance: String, level: String, sequence: u64 },
    Ask { id: u64, levels: Vec<String>, cursor: Option<CursorMeaning> },
    Kept { id: u64, index: u64, held: u64, topic: String, frame: String },
    Done { id: u64, count: u64, cursor: CursorMeaning },
    Info { id: u64 },
    Told { id: u64, json: String },
    Refused { why: String },
}

#[derive(Serialize)]
struct CursorMeaning {
    boot: String,
    position: u64,
}

#[derive(Serialize)]
struct RefusedAsk {
    name: &'static str,
    parts: Vec<String>,
}

#[derive(Serialize)]
struct BeatVector {
    name: &'static str,
    topic: &'static str,
    hex: String,
    version: u64,
    boot: String,
    sent_at: u64,
}

#[derive(Serialize)]
struct PlaceVector {
    value: f64,
    side: &'static str,
    index: Option<i32>,
    lower: Option<f64>,
    upper: Option<f64>,
}

#[derive(Serialize)]
struct QuantileVector {
    values: Vec<f64>,
    zero: u64,
    positive: Vec<(i32, u64)>,
    negative: Vec<(i32, u64)>,
    quantiles: Vec<(f64, f64)>,
}

#[derive(Serialize)]
struct NameVector {
    text: String,
    as_name: bool,
    as_level: bool,
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// To nine digits, because the last ones of `exp2` differ between platforms.
fn rounded(value: f64) -> f64 {
    format!("{value:.8e}").parse().unwrap()
}

fn head(sequence: u64, base: u64, flags: Flags) -> Head {
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
    Row { key, state, trace: None }
}

fn counter(name: &str, whole: i64, float: f64) -> Row {
    row(Kind::Counter, name, State::Total(Total { whole, float }))
}

fn gauge(name: &str, value: f64, statistics: Option<(u64, f64, Option<Span>)>) -> Row {
    row(Kind::Gauge, name, State::Gauge(Gauge { value, set_at: START + 512_000, statistics }))
}

fn histogram_of(values: &[f64]) -> Histogram {
    let mut histogram = Histogram::default();
    values.iter().for_each(|v| assert!(histogram.record(*v), "{v} is refused"));
    histogram
}

fn spread(kind: Kind, name: &str, sum: Total, span: Option<Span>, values: &[f64]) -> Row {
    row(kind, name, State::Spread(Spread { sum, span, histogram: histogram_of(values) }))
}

fn sole(head: &Head, rows: &[Row]) -> Vec<u8> {
    let mut frames = encode_set(head, rows, limits::FRAME);
    assert_eq!(frames.len(), 1);
    frames.remove(0)
}

fn meaning(row: &Row) -> RowMeaning {
    let total = |t: Total| TotalMeaning { whole: t.whole, float: t.float };
    let state = match &row.state {
        State::Total(t) => StateMeaning::Total(total(*t)),
        State::Spread(s) => StateMeaning::Spread {
            sum: total(s.sum),
            min: s.span.map(|s| s.min),
            max: s.span.map(|s| s.max),
            zero: s.histogram.zero,
            positive: s.histogram.positive.pairs().to_vec(),
            negative: s.histogram.negative.pairs().to_vec(),
            count: s.histogram.count(),
        },
        State::Gauge(g) => StateMeaning::Gauge {
            value: g.value,
            set_at: g.set_at,
            statistics: g.statistics.map(|(count, sum, span)| StatisticsMeaning {
                count,
                sum,
                min: span.map(|s| s.min),
                max: span.map(|s| s.max),
            }),
        },
        State::Point(p) => StateMeaning::Point { number: p.number, time: p.time, value: p.value },
        State::Description(d) => {
            StateMeaning::Description { unit: d.unit.to_string(), help: d.help.to_string() }
        }
    };
    RowMeaning {
        kind: row.key.kind.name(),
        name: row.key.name.to_string(),
        source: row.key.source.to_string(),
        tags: row.key.tags.iter().map(|(n, v)| (n.into(), v.into())).collect(),
        born: row.key.born,
        trace: row.trace,
        state,
    }
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

fn frames() -> Vec<FrameVector> {
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

fn refused_frames() -> Vec<RefusedFrame> {
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

fn asks() -> Vec<AskVector> {
    let set = sole(&head(12, 12, Flags::COMPLETE.with(Flags::LAST)), &[counter("requests", 9, 0.0)]);
    let (topic, cursor) = (level::topic("info").into_bytes(), Cursor { boot: BOOT, position: 300 });
    let both = vec!["info".to_string(), "error".to_string()];
    let vectors = [
        ("a part of a last set", Message::Hand { topic: topic.clone(), frame: set.clone() }),
        ("the whole set is kept", Message::Ack { instance: ID, level: "info".into(), sequence: 12 }),
        ("everything of every level", Message::Ask { id: 1, levels: vec![], cursor: None }),
        ("what is new at two levels", Message::Ask { id: 2, levels: both, cursor: Some(cursor) }),
        ("a kept frame", Message::Kept { id: 2, index: 0, held: 5 * SECOND, topic, frame: set }),
        ("the end of an answer", Message::Done { id: 2, count: 1, cursor }),
        ("tell about yourself", Message::Info { id: 3 }),
        ("what it tells", Message::Told { id: 3, json: r#"{"instances":1}"#.into() }),
        ("not understood", Message::Refused { why: "read the frame: truncated".into() }),
    ];
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let cursor = |c: Cursor| CursorMeaning { boot: hex(c.boot), position: c.position };
    let vectors = vectors.into_iter().map(|(name, message)| {
        let parts = message.encode();
        assert_eq!(Message::decode(&parts).as_ref(), Ok(&message), "{name}");
        let message = match message {
            Message::Hand { topic, frame } => MessageMeaning::Hand { topic: text(topic), frame: hex(frame) },
            Message::Ack { instance, level, sequence } => {
                MessageMeaning::Ack { instance: instance.to_string(), level, sequence }
            }
            Message::Ask { id, levels, cursor: c } => {
                MessageMeaning::Ask { id, levels, cursor: c.map(cursor) }
            }
            Message::Kept { id, index, held, topic, frame } => {
                MessageMeaning::Kept { id, index, held, topic: text(topic), frame: hex(frame) }
            }
            Message::Done { id, count, cursor: c } => MessageMeaning::Done { id, count, cursor: cursor(c) },
            Message::Info { id } => MessageMeaning::Info { id },
            Message::Told { id, json } => MessageMeaning::Told { id, json },
            Message::Refused { why } => MessageMeaning::Refused { why },
        };
        AskVector { name, parts: parts.iter().map(hex).collect(), message }
    });
    vectors.collect()
}

fn refused_asks() -> Vec<RefusedAsk> {
    let vectors: [(&'static str, &[&[u8]]); 6] = [
        ("no part", &[]),
        ("an unknown word", &[b"hello", b"\x90"]),
        ("a hand without its frame", &[b"hand", b"info|"]),
        ("an ask without its array", &[b"ask"]),
        ("an ask with too few items", &[b"ask", b"\x92\x01\x90"]),
        ("an id that is no number", &[b"info", b"\x91\xa1x"]),
    ];
    let refused = vectors.into_iter().map(|(name, parts)| {
        assert!(Message::decode(parts).is_err(), "{name}");
        RefusedAsk { name, parts: parts.iter().map(hex).collect() }
    });
    refused.collect()
}

fn beats() -> Vec<BeatVector> {
    let sent_at = START + SECOND;
    let mut bytes = vec![0x93, 1, 0xc4, 16];
    bytes.extend(BOOT);
    bytes.push(0xcf);
    bytes.extend(sent_at.to_be_bytes());
    vec![BeatVector { name: "a beat", topic: "beat|", hex: hex(bytes), version: 1, boot: hex(BOOT), sent_at }]
}

fn places() -> Vec<PlaceVector> {
    let values = [
        0.0,
        1.0,
        2.0,
        3.0,
        10.0,
        1000.0,
        1e6,
        2.5e9,
        1e18,
        1.5e19,
        0.5,
        0.001,
        1e-9,
        -5.0,
        (-64f64).exp2(),
        (-65f64).exp2(),
        1e300,
        -1e300,
    ];
    let vectors = values.map(|value| {
        let (side, index) = match histogram::place_of(value).unwrap() {
            Place::Zero => ("zero", None),
            Place::Positive(i) => ("positive", Some(i)),
            Place::Negative(i) => ("negative", Some(i)),
        };
        if (1.0..1.8e19).contains(&value) && value.fract() == 0.0 {
            assert_eq!(index, Some(histogram::index_of_whole(value as u64)), "{value}");
        }
        let edge = |i: i32| rounded(histogram::lower_edge(i));
        PlaceVector { value, side, index, lower: index.map(edge), upper: index.map(|i| edge(i + 1)) }
    });
    vectors.into()
}

fn quantiles() -> Vec<QuantileVector> {
    let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
    let lists = [vec![7.0], vec![0.0, 0.0, 5.0], vec![-3.0, -1.0, 0.0, 1.0, 3.0], hundred];
    let vectors = lists.map(|values| {
        let histogram = histogram_of(&values);
        let again = Histogram {
            zero: histogram.zero,
            positive: Buckets::from_pairs(histogram.positive.pairs().iter().copied()),
            negative: Buckets::from_pairs(histogram.negative.pairs().iter().copied()),
        };
        assert_eq!(histogram, again);
        let quantile = |q| (q, rounded(histogram.quantile(q).unwrap()));
        QuantileVector {
            zero: histogram.zero,
            positive: histogram.positive.pairs().to_vec(),
            negative: histogram.negative.pairs().to_vec(),
            quantiles: [0.0, 0.5, 0.9, 0.99, 1.0].map(quantile).into(),
            values,
        }
    });
    vectors.into()
}

fn names() -> Vec<NameVector> {
    let texts = [
        "info",
        "",
        "beat",
        "zibrato",
        "two words",
        "a|b",
        "a,b",
        "größe",
        "tab\there",
        "nul\0",
        "x.y-z_1/é",
    ];
    let long = ["l".repeat(32), "l".repeat(33), "n".repeat(255), "n".repeat(256), "é".repeat(127) + "xx"];
    let vectors = texts.into_iter().map(String::from).chain(long).map(|text| NameVector {
        as_name: limits::check_name(&text).is_ok(),
        as_level: limits::check_level(&text).is_ok(),
        text,
    });
    vectors.collect()
}

fn section<T: Serialize>(name: &str, vectors: &[T]) -> String {
    let lines: Vec<String> =
        vectors.iter().map(|v| format!("    {}", serde_json::to_string(v).unwrap())).collect();
    format!("  {name:?}: [\n{}\n  ]", lines.join(",\n"))
}

#[test]
fn the_file_says_what_the_code_does() {
    let sections = [
        r#"  "about": "Test vectors of docs/wire.md, written by zibrato-core/tests/vectors.rs; hex is bytes.""#.to_string(),
        section("frames", &frames()),
        section("refused_frames", &refused_frames()),
        section("asks", &asks()),
        section("refused_asks", &refused_asks()),
        section("beats", &beats()),
        section("places", &places()),
        section("quantiles", &quantiles()),
        section("names", &names()),
    ];
    let text = format!("{{\n{}\n}}\n", sections.join(",\n"));
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/wire-vectors.json");
    if std::env::var_os("ZIBRATO_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let file = std::fs::read_to_string(&path).unwrap().replace("\r\n", "\n");
    for (number, (is, ought)) in file.lines().zip(text.lines()).enumerate() {
        assert_eq!(
            is,
            ought,
            "line {} of docs/wire-vectors.json; ZIBRATO_BLESS=1 writes it anew",
            number + 1
        );
    }
    assert_eq!(file.lines().count(), text.lines().count());
}
