//! The ask socket: last sets are handed over and acknowledged, workers ask for state, tools for counts.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use omq_tokio::{Error, IdentitySocket, Message as Raw, Socket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use zibrato_core::ask::{Cursor, Message};
use zibrato_core::frame::InstanceId;
use zibrato_core::level;

use crate::admit::{FORGOTTEN, admit};
use crate::info;
use crate::keep::{Effect, Handed, Taken};
use crate::shared::{Shared, add};
use crate::stop::Stop;
use crate::store::Written;
use crate::trace;

/// Answers that may be on their way at once: to all, and to one asker.
const ANSWERS: usize = 64;
const ANSWERS_EACH: usize = 4;
/// Acknowledgements that may wait for the disk; whoever is not acknowledged hands over again.
const WAITING: usize = 100_000;
/// An asker who takes nothing for this long gets no more of its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// An acknowledgement that waits for the disk.
struct Waiting {
    version: u64,
    sequence: u64,
    to: Bytes,
}

struct Asked {
    shared: Arc<Shared>,
    socket: IdentitySocket,
    waiting: HashMap<(InstanceId, Arc<str>), Vec<Waiting>>,
    waiting_count: usize,
    answers: JoinSet<Bytes>,
    busy: HashMap<Bytes, usize>,
}

/// Serves the socket until `stop`, then acknowledges what still reaches the disk until `written` ends.
pub(crate) async fn run(
    shared: Arc<Shared>,
    router: Socket,
    mut written: mpsc::UnboundedReceiver<Vec<Written>>,
    mut stop: Stop,
) {
    let Ok(socket) = router.identity_routing() else {
        tracing::error!("failed to serve the ask socket: it is no ROUTER");
        return;
    };
    let mut asked = Asked {
        shared,
        socket,
        waiting: HashMap::new(),
        waiting_count: 0,
        answers: JoinSet::new(),
        busy: HashMap::new(),
    };
    // Without a state file nothing is ever written, and that end is closed from the start.
    let (mut open, mut writing) = (true, true);
    while open || writing {
        tokio::select! {
            () = stop.stopped(), if open => open = false,
            told = written.recv(), if writing => match told {
                Some(told) => asked.written(told),
                None => writing = false,
            },
            Some(done) = asked.answers.join_next(), if !asked.answers.is_empty() => asked.answered(done.ok()),
            received = asked.socket.recv_from(), if open => match received {
                Ok((from, message)) => asked.serve(from.to_bytes(), &message).await,
                Err(Error::Closed) => break,
                Err(error) => asked.shared.refusals.count("ask", "receive", error),
            },
        }
    }
    asked.answers.shutdown().await;
    drop(asked);
    // Acknowledgements that are on their way get the linger time of the socket.
    let _ = router.close().await;
}

impl Asked {
    async fn serve(&mut self, from: Bytes, message: &Raw) {
        let parts: Vec<&[u8]> = (0..message.len()).filter_map(|i| message.part_slice(i)).collect();
        let why = match Message::decode(&parts) {
            Ok(Message::Hand { topic, frame }) => match self.hand(&from, &topic, frame).await {
                Ok(()) => return,
                Err(why) => why,
            },
            Ok(Message::Ask { id, levels, cursor }) => match self.ask(&from, id, levels, cursor) {
                Ok(()) => return,
                Err(why) => why,
            },
            Ok(Message::Info { id }) => {
                return self.reply(&from, &Message::Told { id, json: info::json(&self.shared) });
            }
            Ok(_) => "this message is one that only the broker sends",
            Err(_) => "message not understood",
        };
        self.shared.refusals.count("ask", "ask", why);
        self.reply(&from, &Message::Refused { why: why.into() });
    }

    async fn hand(&mut self, from: &Bytes, topic: &[u8], frame: Vec<u8>) -> Result<(), &'static str> {
        let shared = self.shared.clone();
        let admitted = admit(topic, &frame)?;
        add(&shared.counters.frames_in, 1);
        add(&shared.counters.bytes_in, frame.len() as u64);
        let (instance, sequence) = (admitted.head.instance, admitted.head.sequence);
        let level: Arc<str> = admitted.level.into();
        let now = shared.clock.now();
        let is_traced = trace::is_traced(&level, &admitted.head);
        let (taken, handed) = {
            let mut keep = shared.keep();
            let taken = keep.take(&level, &admitted.head, &frame, now);
            if taken == Taken::Forgotten {
                return Err(FORGOTTEN);
            }
            // While the disk is far behind, nothing is promised; the publisher hands over again.
            let handed = if shared.durable && shared.room() == 0 {
                Handed::Partial
            } else {
                keep.handed(instance, &level, sequence)
            };
            (taken, handed)
        };
        // It is handed over again and again until it is acknowledged, and told of once.
        let is_news = matches!(taken, Taken::News | Taken::Late);
        let marks = (is_traced && is_news).then(|| trace::received(&shared, &level, &frame, now));
        let sent = shared.publish(Raw::multipart([Bytes::copy_from_slice(topic), Bytes::from(frame)])).await;
        if let Some(marks) = marks {
            trace::passed_on(&shared, marks, sent);
        }
        let version = match handed {
            Handed::Partial => return Ok(()),
            Handed::Stored => {
                self.acknowledge(from, instance, &level, sequence);
                return Ok(());
            }
            Handed::Pending(version) => version,
            Handed::Write(record) => {
                let version = record.version;
                shared.write([Effect::Write(record)]);
                version
            }
        };
        if self.waiting_count < WAITING {
            self.waiting_count += 1;
            let waiting = Waiting { version, sequence, to: from.clone() };
            self.waiting.entry((instance, level)).or_default().push(waiting);
        }
        Ok(())
    }

    /// After a transaction: acknowledges what waited for it. What could not be written is not acknowledged.
    fn written(&mut self, told: Vec<Written>) {
        for Written { instance, level, version, ok } in told {
            self.shared.keep().stored(instance, &level, version, ok);
            let key = (instance, level);
            let Some(waiting) = self.waiting.remove(&key) else { continue };
            let before = waiting.len();
            let (done, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|w| w.version <= version);
            self.waiting_count -= before - rest.len();
            for w in done.into_iter().filter(|_| ok) {
                self.acknowledge(&w.to, instance, &key.1, w.sequence);
            }
            if !rest.is_empty() {
                self.waiting.insert(key, rest);
            }
        }
    }

    fn acknowledge(&self, to: &Bytes, instance: InstanceId, level: &str, sequence: u64) {
        add(&self.shared.counters.acks, 1);
        self.reply(to, &Message::Ack { instance, level: level.into(), sequence });
    }

    fn ask(
        &mut self,
        from: &Bytes,
        id: u64,
        levels: Vec<String>,
        cursor: Option<Cursor>,
    ) -> Result<(), &'static str> {
        let busy = self.busy.get(from).copied().unwrap_or_default();
        if self.answers.len() >= ANSWERS || busy >= ANSWERS_EACH {
            return Err("too many answers are on their way: ask again later");
        }
        add(&self.shared.counters.asks, 1);
        self.busy.insert(from.clone(), busy + 1);
        let (shared, socket, to) = (self.shared.clone(), self.socket.clone(), from.clone());
        self.answers.spawn(async move {
            answer(&shared, &socket, &to, id, &levels, cursor).await;
            to
        });
        Ok(())
    }

    fn answered(&mut self, to: Option<Bytes>) {
        let Some(to) = to else { return };
        match self.busy.get_mut(&to) {
            Some(n) if *n > 1 => *n -= 1,
            _ => drop(self.busy.remove(&to)),
        }
    }

    /// Sends a small message; a peer that does not read its answers misses them.
    fn reply(&self, to: &Bytes, message: &Message) {
        let _ = self.socket.try_send_to(to, Raw::multipart(message.encode()));
    }
}

async fn answer(
    shared: &Shared,
    socket: &IdentitySocket,
    to: &Bytes,
    id: u64,
    levels: &[String],
    cursor: Option<Cursor>,
) {
    let (kept, cursor) = shared.keep().answer(levels, cursor);
    let count = kept.len() as u64;
    for (index, kept) in (0..).zip(kept) {
        let held = shared.clock.now().saturating_sub(kept.received);
        let topic = level::topic(&kept.level).into_bytes();
        // The frame is put in afterwards, so that its bytes are shared and not copied.
        let head = Message::Kept { id, index, held, topic, frame: Vec::new() };
        let mut parts: Vec<Bytes> = head.encode().into_iter().map(Bytes::from).collect();
        if let Some(last) = parts.last_mut() {
            *last = kept.frame;
        }
        match tokio::time::timeout(PATIENCE, socket.send_to(to, Raw::multipart(parts))).await {
            Ok(Ok(())) => add(&shared.counters.answered, 1),
            // Gone, or not reading: whoever still lives asks again.
            _ => return add(&shared.counters.broken, 1),
        }
    }
    let done = Raw::multipart(Message::Done { id, count, cursor }.encode());
    let _ = tokio::time::timeout(PATIENCE, socket.send_to(to, done)).await;
}
