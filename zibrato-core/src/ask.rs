//! The messages of the broker's third socket (ROUTER 5552; whoever asks is a DEALER).
//!
//! A message is a list of parts: a word, a MessagePack array, and where it carries a frame, the topic and
//! the frame as they travel on the other sockets. `docs/wire.md` describes them.

use crate::frame::{InstanceId, skip};
use rmp::{decode as de, encode as en};

/// Where a worker is in one broker's log: valid only within one life of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The life of the broker, random with every start.
    pub boot: [u8; 16],
    /// The position in its log up to which everything has been answered.
    pub position: u64,
}

/// A message of the ask socket; topic and frame are the bytes of the other sockets' messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// To the broker: one part of a last or retired set, to be kept and acknowledged.
    Hand {
        /// The topic that the frame would have been pushed under.
        topic: Vec<u8>,
        /// The frame.
        frame: Vec<u8>,
    },
    /// From the broker: the whole set is on its disk (or in its memory, with `--state none`).
    Ack {
        /// Whose set.
        instance: InstanceId,
        /// Of which level.
        level: String,
        /// The set's sequence.
        sequence: u64,
    },
    /// To the broker: send the state that I may lack.
    Ask {
        /// Chosen by the asker, comes back in every answer.
        id: u64,
        /// The levels wanted; none means all.
        levels: Vec<String>,
        /// The cursor of the last whole answer; `None` asks for everything.
        cursor: Option<Cursor>,
        /// With a cursor: the state of what still talks, too, which is on PUB otherwise.
        talking: bool,
    },
    /// From the broker: one kept frame of an answer.
    Kept {
        /// The asker's id.
        id: u64,
        /// Its number within the answer, from 0.
        index: u64,
        /// How long the broker has held the frame, in nanoseconds.
        held: u64,
        /// The frame's topic.
        topic: Vec<u8>,
        /// The frame.
        frame: Vec<u8>,
    },
    /// From the broker: the answer is over.
    Done {
        /// The asker's id.
        id: u64,
        /// How many frames it had; if some did not arrive, the cursor must not move.
        count: u64,
        /// Where the log was when the answer was made.
        cursor: Cursor,
    },
    /// To the broker: tell about yourself.
    Info {
        /// Chosen by the asker.
        id: u64,
    },
    /// From the broker: what it tells, as a JSON object.
    Told {
        /// The asker's id.
        id: u64,
        /// The JSON text.
        json: String,
    },
    /// From the broker: the message before was not understood or not taken.
    Refused {
        /// Why.
        why: String,
    },
}

/// A message that could not be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadMessage;

impl std::fmt::Display for BadMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("understand the message of the ask socket")
    }
}

impl std::error::Error for BadMessage {}

/// Most levels that one `ask` may list.
const LEVELS: u32 = 1024;

impl Message {
    /// The parts to send.
    pub fn encode(&self) -> Vec<Vec<u8>> {
        let mut b = Vec::new();
        // Writing into a `Vec` cannot fail, so the results are dropped.
        match self {
            Message::Hand { topic, frame } => parts(b"hand", b, Some((topic, frame))),
            Message::Ack { instance, level, sequence } => {
                let _ = en::write_array_len(&mut b, 3);
                let _ = en::write_bin(&mut b, &instance.0);
                let _ = en::write_str(&mut b, level);
                let _ = en::write_uint(&mut b, *sequence);
                parts(b"ack", b, None)
            }
            Message::Ask { id, levels, cursor, talking } => {
                let _ = en::write_array_len(&mut b, if *talking { 4 } else { 3 });
                let _ = en::write_uint(&mut b, *id);
                let _ = en::write_array_len(&mut b, levels.len() as u32);
                levels.iter().for_each(|l| drop(en::write_str(&mut b, l)));
                match cursor {
                    Some(cursor) => write_cursor(&mut b, cursor),
                    None => drop(en::write_nil(&mut b)),
                }
                if *talking {
                    let _ = en::write_bool(&mut b, true);
                }
                parts(b"ask", b, None)
            }
            Message::Kept { id, index, held, topic, frame } => {
                let _ = en::write_array_len(&mut b, 3);
                [id, index, held].iter().for_each(|n| drop(en::write_uint(&mut b, **n)));
                parts(b"kept", b, Some((topic, frame)))
            }
            Message::Done { id, count, cursor } => {
                let _ = en::write_array_len(&mut b, 3);
                [id, count].iter().for_each(|n| drop(en::write_uint(&mut b, **n)));
                write_cursor(&mut b, cursor);
                parts(b"done", b, None)
            }
            Message::Info { id } => {
                let _ = en::write_array_len(&mut b, 1);
                let _ = en::write_uint(&mut b, *id);
                parts(b"info", b, None)
            }
            Message::Told { id, json } => {
                let _ = en::write_array_len(&mut b, 2);
                let _ = en::write_uint(&mut b, *id);
                let _ = en::write_str(&mut b, json);
                parts(b"told", b, None)
            }
            Message::Refused { why } => {
                let _ = en::write_array_len(&mut b, 1);
                let _ = en::write_str(&mut b, why);
                parts(b"refused", b, None)
            }
        }
    }

    /// Reads the parts of a message; items that follow in the array are ignored.
    ///
    /// # Errors
    /// When the word is unknown, parts are missing or an item is of another type than it should be.
    pub fn decode(parts: &[impl AsRef<[u8]>]) -> Result<Message, BadMessage> {
        let part = |i: usize| parts.get(i).map(AsRef::as_ref).ok_or(BadMessage);
        let mut body = if part(0)? == b"hand" { &[][..] } else { part(1)? };
        let b = &mut body;
        Ok(match part(0)? {
            b"hand" => Message::Hand { topic: part(1)?.into(), frame: part(2)?.into() },
            b"ack" => {
                array(b, 3)?;
                Message::Ack { instance: InstanceId(id16(b)?), level: text(b)?, sequence: uint(b)? }
            }
            b"ask" => {
                let items = array(b, 3)?;
                let id = uint(b)?;
                let n = de::read_array_len(b).map_err(|_| BadMessage)?;
                if n > LEVELS {
                    return Err(BadMessage);
                }
                let levels = (0..n).map(|_| text(b)).collect::<Result<_, _>>()?;
                let cursor = match b.split_first() {
                    Some((0xc0, rest)) => {
                        *b = rest;
                        None
                    }
                    _ => Some(read_cursor(b)?),
                };
                let talking = items > 3 && de::read_bool(b).map_err(|_| BadMessage)?;
                Message::Ask { id, levels, cursor, talking }
            }
            b"kept" => {
                array(b, 3)?;
                let (id, index, held) = (uint(b)?, uint(b)?, uint(b)?);
                Message::Kept { id, index, held, topic: part(2)?.into(), frame: part(3)?.into() }
            }
            b"done" => {
                array(b, 3)?;
                Message::Done { id: uint(b)?, count: uint(b)?, cursor: read_cursor(b)? }
            }
            b"info" => {
                array(b, 1)?;
                Message::Info { id: uint(b)? }
            }
            b"told" => {
                array(b, 2)?;
                Message::Told { id: uint(b)?, json: text(b)? }
            }
            b"refused" => {
                array(b, 1)?;
                Message::Refused { why: text(b)? }
            }
            _ => return Err(BadMessage),
        })
    }
}

fn parts(word: &[u8], body: Vec<u8>, frame: Option<(&[u8], &[u8])>) -> Vec<Vec<u8>> {
    let mut parts = vec![word.to_vec()];
    if !body.is_empty() {
        parts.push(body);
    }
    if let Some((topic, frame)) = frame {
        parts.extend([topic.to_vec(), frame.to_vec()]);
    }
    parts
}

fn write_cursor(b: &mut Vec<u8>, cursor: &Cursor) {
    let _ = en::write_array_len(b, 2);
    let _ = en::write_bin(b, &cursor.boot);
    let _ = en::write_uint(b, cursor.position);
}

fn read_cursor(b: &mut &[u8]) -> Result<Cursor, BadMessage> {
    let items = array(b, 2)?;
    let cursor = Cursor { boot: id16(b)?, position: uint(b)? };
    (2..items).try_for_each(|_| skip(b)).ok_or(BadMessage)?;
    Ok(cursor)
}

/// How many items there are.
fn array(b: &mut &[u8], least: u32) -> Result<u32, BadMessage> {
    match de::read_array_len(b) {
        Ok(n) if n >= least => Ok(n),
        _ => Err(BadMessage),
    }
}

fn uint(b: &mut &[u8]) -> Result<u64, BadMessage> {
    de::read_int(b).map_err(|_| BadMessage)
}

fn take<'a>(b: &mut &'a [u8], n: u32) -> Result<&'a [u8], BadMessage> {
    let (taken, rest) = b.split_at_checked(n as usize).ok_or(BadMessage)?;
    *b = rest;
    Ok(taken)
}

fn id16(b: &mut &[u8]) -> Result<[u8; 16], BadMessage> {
    let n = de::read_bin_len(b).map_err(|_| BadMessage)?;
    take(b, n)?.try_into().map_err(|_| BadMessage)
}

fn text(b: &mut &[u8]) -> Result<String, BadMessage> {
    let n = de::read_str_len(b).map_err(|_| BadMessage)?;
    std::str::from_utf8(take(b, n)?).map(Into::into).map_err(|_| BadMessage)
}
