//! Messages of the ask socket, and beats.

use zibrato_core::ask::{Cursor, Message};
use zibrato_core::frame::Flags;
use zibrato_core::level;

use crate::frames::{counter, head, sole};
use crate::meaning::{AskVector, BeatVector, CursorMeaning, MessageMeaning, RefusedAsk};
use crate::{BOOT, ID, SECOND, START, hex};

pub(crate) fn asks() -> Vec<AskVector> {
    let set = sole(&head(12, 12, Flags::COMPLETE.with(Flags::LAST)), &[counter("requests", 9, 0.0)]);
    let (topic, cursor) = (level::topic("info").into_bytes(), Cursor { boot: BOOT, position: 300 });
    let both = vec!["info".to_string(), "error".to_string()];
    let vectors = [
        ("a part of a last set", Message::Hand { topic: topic.clone(), frame: set.clone() }),
        ("the whole set is kept", Message::Ack { instance: ID, level: "info".into(), sequence: 12 }),
        ("everything of every level", Message::Ask { id: 1, levels: vec![], cursor: None, talking: false }),
        (
            "what is new at two levels",
            Message::Ask { id: 2, levels: both, cursor: Some(cursor), talking: false },
        ),
        (
            "and the state of what still talks",
            Message::Ask { id: 4, levels: vec![], cursor: Some(cursor), talking: true },
        ),
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
            Message::Ask { id, levels, cursor: c, talking } => {
                MessageMeaning::Ask { id, levels, cursor: c.map(cursor), talking }
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

pub(crate) fn refused_asks() -> Vec<RefusedAsk> {
    let vectors: [(&'static str, &[&[u8]]); 7] = [
        ("no part", &[]),
        ("an unknown word", &[b"hello", b"\x90"]),
        ("a hand without its frame", &[b"hand", b"info|"]),
        ("an ask without its array", &[b"ask"]),
        ("an ask with too few items", &[b"ask", b"\x92\x01\x90"]),
        ("a talking that is neither true nor false", &[b"ask", b"\x94\x01\x90\xc0\x01"]),
        ("an id that is no number", &[b"info", b"\x91\xa1x"]),
    ];
    let refused = vectors.into_iter().map(|(name, parts)| {
        assert!(Message::decode(parts).is_err(), "{name}");
        RefusedAsk { name, parts: parts.iter().map(hex).collect() }
    });
    refused.collect()
}

pub(crate) fn beats() -> Vec<BeatVector> {
    let sent_at = START + SECOND;
    let mut bytes = vec![0x93, 1, 0xc4, 16];
    bytes.extend(BOOT);
    bytes.push(0xcf);
    bytes.extend(sent_at.to_be_bytes());
    vec![BeatVector { name: "a beat", topic: "beat|", hex: hex(bytes), version: 1, boot: hex(BOOT), sent_at }]
}
