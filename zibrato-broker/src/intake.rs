//! The way of a frame: PULL, keep, PUB.

use std::sync::Arc;

use omq_tokio::{Error, Message, Socket};
use zibrato_core::level;

use crate::admit::{FORGOTTEN, PARTS, admit};
use crate::keep::{Keep, Taken};
use crate::shared::{Shared, add};
use crate::stop::Stop;
use crate::trace;

/// Most messages that are taken at once.
const BATCH: usize = 256;
/// Most batches that are still taken when the broker stops.
const LEFT: usize = 1000;

pub(crate) async fn run(shared: Arc<Shared>, pull: Socket, mut stop: Stop) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let received = tokio::select! {
            biased;
            () = stop.stopped() => break,
            received = pull.recv_many_into(BATCH, &mut batch) => received,
        };
        match received {
            Ok(_) => {}
            Err(Error::Closed) => break,
            Err(error) => shared.refusals.count("in", "receive", error),
        }
        pass(&shared, &mut batch).await;
        // The batch may have been taken and passed on without waiting once; others want to run, too.
        tokio::task::yield_now().await;
    }
    // What has arrived already is still taken, but not what keeps coming.
    for _ in 0..LEFT {
        if pull.try_recv_many_into(BATCH, &mut batch).is_err() || batch.is_empty() {
            break;
        }
        pass(&shared, &mut batch).await;
    }
    // Nothing is sent here, so there is nothing to linger for.
    let _ = pull.close().await;
}

/// Keeps and publishes what is sound of a batch, and empties it.
async fn pass(shared: &Shared, batch: &mut Vec<Message>) {
    // Which of the messages that are passed on have marked rows; mostly none.
    let mut traced = Vec::new();
    let now = shared.clock.now();
    {
        let mut keep = shared.keep();
        let mut passed = 0;
        batch.retain(|message| match take(shared, &mut keep, message, now) {
            Pass::Not => false,
            how => {
                if how == Pass::Traced {
                    traced.push(passed);
                }
                passed += 1;
                true
            }
        });
    }
    let mut traced = traced.into_iter().peekable();
    for (number, message) in batch.drain(..).enumerate() {
        let marks = traced.next_if_eq(&number).and_then(|_| {
            let level = level::of_topic(message.part_slice(0)?)?;
            Some(trace::received(shared, level, message.part_slice(1)?, now))
        });
        let sent = shared.publish(message).await;
        if let Some(marks) = marks {
            trace::passed_on(shared, marks, sent);
        }
    }
}

/// Whether a message is passed on.
#[derive(PartialEq, Eq)]
enum Pass {
    Not,
    On,
    /// It is, and has rows that are marked for tracing.
    Traced,
}

/// Keeps a message if it is sound; says whether to pass it on.
fn take(shared: &Shared, keep: &mut Keep, message: &Message, now: u64) -> Pass {
    let (Some(topic), Some(frame), 2) = (message.part_slice(0), message.part_slice(1), message.len()) else {
        shared.refusals.count("in", PARTS, format_args!("it has {} parts, not 2", message.len()));
        return Pass::Not;
    };
    match admit(topic, frame) {
        Ok(admitted) => {
            add(&shared.counters.frames_in, 1);
            add(&shared.counters.bytes_in, frame.len() as u64);
            let taken = keep.take(admitted.level, &admitted.head, admitted.frame, now);
            if taken == Taken::Forgotten {
                shared.refusals.count("in", FORGOTTEN, format_args!("instance {}", admitted.head.instance));
            }
            match taken {
                Taken::Forgotten => Pass::Not,
                Taken::News | Taken::Late if trace::is_traced(admitted.level, &admitted.head) => Pass::Traced,
                _ => Pass::On,
            }
        }
        Err(reason) => {
            let start = &topic[..topic.len().min(100)];
            let detail = format_args!("topic {:?}, {} bytes", start.escape_ascii().to_string(), frame.len());
            shared.refusals.count("in", reason, detail);
            Pass::Not
        }
    }
}
