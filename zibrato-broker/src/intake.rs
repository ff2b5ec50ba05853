//! The way of a frame: in, keep, out.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use omq_proto::SocketType;
use zibrato_core::level;
use zibrato_core::limits;

use crate::admit::{FORGOTTEN, LEVEL, PARTS, RATE, admit};
use crate::keep::Taken;
use crate::net::{Batch, Item, Peer, QueueLimits, Run, Service, Who, Why, WireLimits, join};
use crate::shared::{Shared, add};
use crate::trace;

/// A message may pass the limit of a frame by this much, so that it is refused and counted as too large
/// instead of costing its sender the connection.
pub(crate) const SLACK: usize = 64 << 10;
/// Most parts of a message, so that one with too many is refused without costing its sender the connection.
pub(crate) const MOST_PARTS: usize = 64;
/// Messages that are read before the lock on what is kept is taken for all of them.
const TOGETHER: usize = 64;

/// The port where publishers push.
pub(crate) struct Intake(pub(crate) Arc<Shared>);

/// Neighbouring messages of one topic that are passed on together.
struct Open {
    wire: Range<usize>,
    topic: Range<usize>,
    messages: usize,
}

impl Service for Intake {
    fn place(&self) -> &'static str {
        "in"
    }

    fn kind(&self) -> SocketType {
        SocketType::Pull
    }

    fn wire(&self) -> WireLimits {
        WireLimits { message: limits::FRAME + SLACK, parts: MOST_PARTS }
    }

    fn queue(&self) -> QueueLimits {
        // Nothing is sent here but answers to heartbeats.
        QueueLimits { messages: 0, bytes: 0 }
    }

    fn refuses(&self, who: &Who) -> Option<Why> {
        (!who.may_send()).then_some("may_not_send")
    }

    fn hello(&self, _: &Arc<Peer>) {}

    /// Keeps and publishes what is sound.
    fn take(&self, peer: &Arc<Peer>, batch: &Batch<'_>) -> Result<(), Why> {
        let shared = &*self.0;
        let now = shared.clock.now();
        let (mut runs, mut open, mut traced) = (Vec::new(), None, Vec::new());
        let (mut frames, mut bytes) = (0, 0);
        for items in batch.items.chunks(TOGETHER) {
            let admitted = items.iter().filter_map(|item| {
                let Item::Message { wire, parts, is_mixed } = item else { return None };
                let [topic, frame] = &batch.parts[parts.clone()] else {
                    let detail = format_args!("it has {} parts, not 2", parts.len());
                    shared.refusals.count_of("in", PARTS, peer.who(), detail);
                    return None;
                };
                match admit(&batch.bytes[topic.clone()], &batch.bytes[frame.clone()]) {
                    Ok(admitted) if !peer.who.may_use(admitted.level) => {
                        shared.refusals.count_of("in", LEVEL, peer.who(), admitted.level);
                        None
                    }
                    Ok(_) if !peer.who.may_send_now(frame.len(), now) => {
                        shared.refusals.count_of("in", RATE, peer.who(), "more than it may send");
                        None
                    }
                    Ok(admitted) => Some((admitted, wire, topic, frame, *is_mixed)),
                    Err(reason) => {
                        let start = &batch.bytes[topic.start..topic.end.min(topic.start + 100)];
                        let start = start.escape_ascii().to_string();
                        let detail = format_args!("topic {start:?}, {} bytes", frame.len());
                        shared.refusals.count_of("in", reason, peer.who(), detail);
                        None
                    }
                }
            });
            let admitted: Vec<_> = admitted.collect();
            let mut keep = shared.keep();
            for (admitted, wire, topic, frame, is_mixed) in admitted {
                frames += 1;
                bytes += frame.len() as u64;
                let own = batch.own.map(|own| own.slice(frame.clone()));
                let taken =
                    keep.take_own(admitted.level, &admitted.head, admitted.frame, own, &peer.origin, now);
                match taken {
                    Taken::Forgotten => {
                        let detail = format_args!("instance {}", admitted.head.instance);
                        shared.refusals.count_of("in", FORGOTTEN, peer.who(), detail);
                        continue;
                    }
                    Taken::News | Taken::Late if trace::is_traced(admitted.level, &admitted.head) => {
                        traced.push((admitted.level, admitted.frame));
                    }
                    _ => {}
                }
                match &mut open {
                    Some(Open { wire: before, topic: of, messages })
                        if before.end == wire.start
                            && !is_mixed
                            && batch.bytes[of.clone()] == batch.bytes[topic.clone()] =>
                    {
                        before.end = wire.end;
                        *messages += 1;
                    }
                    _ => {
                        runs.extend(open.take().map(|open| run(batch, open)));
                        if is_mixed {
                            runs.push(unmixed(&batch.bytes[topic.clone()], admitted.frame));
                        } else {
                            open = Some(Open { wire: wire.clone(), topic: topic.clone(), messages: 1 });
                        }
                    }
                }
            }
        }
        runs.extend(open.map(|open| run(batch, open)));
        add(&shared.counters.frames_in, frames);
        add(&shared.counters.bytes_in, bytes);
        let marks: Vec<_> =
            traced.into_iter().map(|(level, frame)| trace::received(shared, level, frame, now)).collect();
        shared.publish(&runs);
        marks.into_iter().for_each(|marks| trace::passed_on(shared, marks));
        Ok(())
    }

    fn bye(&self, _: &Arc<Peer>) {}
}

/// The bytes of messages in an allocation of their own: what was read is read over, or has other messages beside.
fn run(batch: &Batch<'_>, open: Open) -> Run {
    let Open { wire, topic, messages } = open;
    let topic = topic.start - wire.start..topic.end - wire.start;
    let bytes = match batch.own {
        Some(own) => own.slice(wire),
        None => Bytes::copy_from_slice(&batch.bytes[wire]),
    };
    Run { bytes, messages, topic }
}

/// A message without the commands that came between its parts.
fn unmixed(topic: &[u8], frame: &[u8]) -> Run {
    let mut bytes = Vec::with_capacity(topic.len() + frame.len() + 11);
    join(&mut bytes, [topic, frame].into_iter());
    // A topic that names a level is short, so its header has two bytes.
    Run { bytes: bytes.into(), messages: 1, topic: 2..2 + topic.len() }
}

/// The message of one frame of this program's own.
pub(crate) fn own_run(level: &str, frame: &[u8]) -> Run {
    unmixed(level::topic(level).as_bytes(), frame)
}
