//! The ask port: last sets are handed over and acknowledged, workers ask for state, tools for counts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use omq_proto::SocketType;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use zibrato_core::ask::{Cursor, Message};
use zibrato_core::frame::InstanceId;
use zibrato_core::level;
use zibrato_core::limits;

use crate::admit::{FORGOTTEN, LEVEL, RATE, admit};
use crate::info;
use crate::intake::{MOST_PARTS, SLACK, own_run};
use crate::keep::{Answer, Effect, Handed, Taken};
use crate::net::{Batch, Item, Peer, QueueLimits, Run, Service, Who, Why, WireLimits};
use crate::shared::{Shared, add};
use crate::store::Written;
use crate::trace;

/// Answers that may be on their way at once: to all, and to one asker.
const ANSWERS: usize = 64;
const ANSWERS_EACH: usize = 4;
/// Acknowledgements that may wait for the disk; whoever is not acknowledged hands over again.
const WAITING: usize = 100_000;
/// Refusals of what was understood, which are counted by their own names.
const REASONS: [&str; 4] = [LEVEL, RATE, "may_not_send", "may_not_receive"];
/// The counts that tools are told take a look at everything that is kept, and anybody may ask for them: they are told
/// again for so many times as long as it took to make them.
const REST: u32 = 10;
/// An asker who takes nothing for this long gets no more of its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// An acknowledgement that waits for the disk.
struct Waiting {
    version: u64,
    sequence: u64,
    to: Arc<Peer>,
}

#[derive(Default)]
struct State {
    waiting: HashMap<(InstanceId, Arc<str>), Vec<Waiting>>,
    waiting_count: usize,
    answers: JoinSet<()>,
    /// The oldest first.
    running: Vec<Running>,
}

/// An answer that is on its way.
struct Running {
    task: AbortHandle,
    owner: Arc<str>,
    link: u64,
}

/// The port where publishers hand over, and workers and tools ask.
pub(crate) struct Asked {
    shared: Arc<Shared>,
    state: Mutex<State>,
    /// What tools were told last, and until when they are told it again.
    info: Mutex<Option<(Instant, String)>>,
}

impl Service for Asked {
    fn place(&self) -> &'static str {
        "ask"
    }

    fn kind(&self) -> SocketType {
        SocketType::Router
    }

    fn wire(&self) -> WireLimits {
        WireLimits { message: limits::FRAME + SLACK, parts: MOST_PARTS }
    }

    fn queue(&self) -> QueueLimits {
        QueueLimits { messages: 1024, bytes: 4 << 20 }
    }

    fn refuses(&self, _: &Who) -> Option<Why> {
        None
    }

    fn hello(&self, _: &Arc<Peer>) {}

    fn take(&self, peer: &Arc<Peer>, batch: &Batch<'_>) -> Result<(), Why> {
        for item in batch.items {
            let Item::Message { parts, .. } = item else { continue };
            let parts: Vec<&[u8]> =
                batch.parts[parts.clone()].iter().map(|p| &batch.bytes[p.clone()]).collect();
            self.serve(peer, &parts);
        }
        Ok(())
    }

    fn bye(&self, _: &Arc<Peer>) {}
}

impl Asked {
    pub(crate) fn new(shared: Arc<Shared>) -> Asked {
        Asked { shared, state: Mutex::default(), info: Mutex::default() }
    }

    /// Acknowledges what reaches the disk, until nothing is written any more.
    pub(crate) async fn acknowledge_written(
        self: Arc<Self>,
        mut written: mpsc::UnboundedReceiver<Vec<Written>>,
    ) {
        while let Some(told) = written.recv().await {
            self.written(told);
        }
    }

    fn info(&self) -> String {
        let mut info = self.info.lock().unwrap_or_else(PoisonError::into_inner);
        match &*info {
            Some((until, json)) if Instant::now() < *until => json.clone(),
            _ => {
                let begin = Instant::now();
                let json = info::json(&self.shared);
                info.insert((Instant::now() + begin.elapsed() * REST, json)).1.clone()
            }
        }
    }

    fn serve(&self, from: &Arc<Peer>, parts: &[&[u8]]) {
        let may_receive = from.who.may_receive();
        let why = match Message::decode(parts) {
            Ok(Message::Ask { .. } | Message::Info { .. }) if !may_receive => "may_not_receive",
            Ok(Message::Hand { topic, frame }) => match self.hand(from, &topic, frame) {
                Ok(()) => return,
                Err(why) => why,
            },
            Ok(Message::Ask { id, levels, cursor, talking }) => {
                match self.ask(from, id, levels, cursor, talking) {
                    Ok(()) => return,
                    Err(why) => why,
                }
            }
            Ok(Message::Info { id }) => {
                return reply(from, &Message::Told { id, json: self.info() });
            }
            Ok(_) => "this message is one that only the broker sends",
            Err(_) => "message not understood",
        };
        let reason = if REASONS.contains(&why) { why } else { "ask" };
        self.shared.refusals.count_of("ask", reason, from.who(), why);
        reply(from, &Message::Refused { why: why.into() });
    }

    fn hand(&self, from: &Arc<Peer>, topic: &[u8], frame: Vec<u8>) -> Result<(), &'static str> {
        let shared = &*self.shared;
        let frame = Bytes::from(frame);
        let admitted = admit(topic, &frame)?;
        if !from.who.may_send() {
            return Err("may_not_send");
        }
        if !from.who.may_use(admitted.level) {
            return Err(LEVEL);
        }
        if !from.who.may_send_now(frame.len(), shared.clock.now()) {
            return Err(RATE);
        }
        add(&shared.counters.frames_in, 1);
        add(&shared.counters.bytes_in, frame.len() as u64);
        let (instance, sequence) = (admitted.head.instance, admitted.head.sequence);
        let level: Arc<str> = admitted.level.into();
        let now = shared.clock.now();
        let is_traced = trace::is_traced(&level, &admitted.head);
        let (taken, handed) = {
            let mut keep = shared.keep();
            let taken = keep.take_own(&level, &admitted.head, &frame, Some(frame.clone()), &from.origin, now);
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
        let marks = (is_traced && is_news).then(|| trace::received(shared, &level, &frame, now));
        shared.publish(&[own_run(&level, &frame)]);
        if let Some(marks) = marks {
            trace::passed_on(shared, marks);
        }
        let (version, record) = match handed {
            Handed::Partial => return Ok(()),
            Handed::Stored => {
                self.acknowledge(from, instance, &level, sequence);
                return Ok(());
            }
            Handed::Pending(version) => (version, None),
            Handed::Write(record) => (record.version, Some(record)),
        };
        // Whoever waits is noted first: the disk may be quick.
        {
            let mut state = self.state();
            if state.waiting_count < WAITING {
                state.waiting_count += 1;
                let waiting = Waiting { version, sequence, to: from.clone() };
                state.waiting.entry((instance, level.clone())).or_default().push(waiting);
            }
        }
        match record {
            Some(record) => shared.write([Effect::Write(record)]),
            // It may have been stored between the look at it and the note.
            None => self.look_again(instance, &level, sequence),
        }
        Ok(())
    }

    /// Acknowledges what was stored while somebody began to wait for it.
    fn look_again(&self, instance: InstanceId, level: &Arc<str>, sequence: u64) {
        let handed = self.shared.keep().handed(instance, level, sequence);
        match handed {
            Handed::Stored => {}
            Handed::Write(record) => return self.shared.write([Effect::Write(record)]),
            _ => return,
        }
        let key = (instance, level.clone());
        let mut state = self.state();
        let Some(waiting) = state.waiting.get_mut(&key) else { return };
        let (done, rest): (Vec<_>, Vec<_>) =
            std::mem::take(waiting).into_iter().partition(|w| w.sequence == sequence);
        *waiting = rest;
        if waiting.is_empty() {
            state.waiting.remove(&key);
        }
        state.waiting_count -= done.len();
        drop(state);
        done.iter().for_each(|w| self.acknowledge(&w.to, instance, level, w.sequence));
    }

    /// After a transaction: acknowledges what waited for it. What could not be written is not acknowledged.
    fn written(&self, told: Vec<Written>) {
        for Written { instance, level, version, ok } in told {
            self.shared.keep().stored(instance, &level, version, ok);
            let key = (instance, level);
            let done = {
                let mut state = self.state();
                let Some(waiting) = state.waiting.remove(&key) else { continue };
                let (done, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|w| w.version <= version);
                state.waiting_count -= done.len();
                if !rest.is_empty() {
                    state.waiting.insert(key.clone(), rest);
                }
                done
            };
            for w in done.into_iter().filter(|_| ok) {
                self.acknowledge(&w.to, instance, &key.1, w.sequence);
            }
        }
    }

    fn acknowledge(&self, to: &Peer, instance: InstanceId, level: &str, sequence: u64) {
        add(&self.shared.counters.acks, 1);
        reply(to, &Message::Ack { instance, level: level.into(), sequence });
    }

    fn ask(
        &self,
        from: &Arc<Peer>,
        id: u64,
        levels: Vec<String>,
        cursor: Option<Cursor>,
        talking: bool,
    ) -> Result<(), &'static str> {
        let mut state = self.state();
        let State { answers, running, .. } = &mut *state;
        while answers.try_join_next().is_some() {}
        running.retain(|answer| !answer.task.is_finished());
        let (owner, link) = (from.who.name.clone(), from.link.id);
        if running.iter().filter(|answer| answer.link == link).count() >= ANSWERS_EACH
            || (running.len() >= ANSWERS && !self.make_room(running, &owner))
        {
            return Err("too many answers are on their way: ask again later");
        }
        add(&self.shared.counters.asks, 1);
        let (shared, to) = (self.shared.clone(), from.clone());
        let task = answers.spawn(async move {
            let begun = shared.keep().begin_answer(&levels, cursor, talking);
            answer(&shared, &to, id, begun).await;
        });
        running.push(Running { task, owner, link });
        Ok(())
    }

    /// Gives up the oldest answer of whoever has most on their way, if that is more than another of `owner` would make.
    fn make_room(&self, running: &mut Vec<Running>, owner: &Arc<str>) -> bool {
        let count = |owner: &Arc<str>| running.iter().filter(|answer| answer.owner == *owner).count();
        let Some(most) = running.iter().map(|answer| &answer.owner).max_by_key(|owner| count(owner)).cloned()
        else {
            return false;
        };
        if count(&most) <= count(owner) + 1 {
            return false;
        }
        if let Some(oldest) = running.iter().position(|answer| answer.owner == most) {
            running.remove(oldest).task.abort();
            add(&self.shared.counters.broken, 1);
        }
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock would be a fault of ours; going on with what is there serves everyone better.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run_of(message: &Message) -> Run {
    let parts = message.encode();
    Run::single(parts.iter().map(Vec::as_slice))
}

/// Sends a small message; a peer that does not read its answers misses them.
fn reply(to: &Peer, message: &Message) {
    to.outbox.push(std::iter::once(&run_of(message)));
}

async fn answer(shared: &Shared, to: &Peer, id: u64, mut answer: Answer) {
    let send = |run| async {
        // Gone, or not reading: whoever still lives asks again.
        matches!(tokio::time::timeout(PATIENCE, to.outbox.send(run)).await, Ok(true))
    };
    let mut count = 0;
    loop {
        let Some(mut piece) = shared.keep().go_on(&mut answer) else { break };
        if let Some(allowed) = to.who.levels() {
            piece.retain(|kept| allowed.contains(&kept.level));
        }
        for kept in piece {
            let held = shared.clock.now().saturating_sub(kept.received);
            let topic = level::topic(&kept.level).into_bytes();
            let mut parts = Message::Kept { id, index: count, held, topic, frame: Vec::new() }.encode();
            parts.pop();
            let parts = parts.iter().map(Vec::as_slice).chain(std::iter::once(&kept.frame[..]));
            let parts: Vec<&[u8]> = parts.collect();
            if !send(Run::single(parts.into_iter())).await {
                return add(&shared.counters.broken, 1);
            }
            count += 1;
            add(&shared.counters.answered, 1);
        }
        // Others have their turn, whatever is left.
        tokio::task::yield_now().await;
    }
    send(run_of(&Message::Done { id, count, cursor: answer.cursor })).await;
}
