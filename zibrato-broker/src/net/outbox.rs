//! What waits to be written to one peer: bounded in messages and bytes, and in bytes over all peers together.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::Notify;

/// Most bytes of heartbeat answers that wait; who reads none needs none.
const CONTROL: usize = 4096;
/// About what an entry of a queue costs besides its bytes, so that tiny messages count as what they are.
const ENTRY: usize = 64;

/// Whole messages as they stand on the wire, one after the other, all with the same topic.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) bytes: Bytes,
    pub(crate) messages: usize,
    /// Where the topic is: the first part of the first message.
    pub(crate) topic: Range<usize>,
}

impl Run {
    /// A run of one message that has no topic.
    pub(crate) fn single<'a>(parts: impl ExactSizeIterator<Item = &'a [u8]>) -> Run {
        let mut bytes = Vec::new();
        super::join(&mut bytes, parts);
        Run { bytes: bytes.into(), messages: 1, topic: 0..0 }
    }

    pub(crate) fn topic(&self) -> &[u8] {
        &self.bytes[self.topic.clone()]
    }

    /// What it counts for in a queue.
    pub(crate) fn cost(&self) -> usize {
        self.bytes.len() + ENTRY
    }
}

/// What all peers' queues may hold together.
#[derive(Debug)]
pub(crate) struct Pool {
    limit: usize,
    bytes: AtomicUsize,
    queues: AtomicUsize,
    owners: Mutex<HashMap<Arc<str>, Weak<Owner>>>,
    owner_count: AtomicUsize,
}

/// What is held in all queues of an identity, or of an address.
#[derive(Debug)]
struct Owner {
    name: Arc<str>,
    bytes: AtomicUsize,
    pool: Arc<Pool>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        let mut owners = self.pool.owners.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have come again meanwhile.
        if owners.get(&self.name).is_some_and(|own| own.strong_count() == 0) {
            owners.remove(&self.name);
        }
        self.pool.owner_count.store(owners.len(), Relaxed);
    }
}

impl Pool {
    pub(crate) fn new(limit: usize) -> Arc<Pool> {
        Arc::new(Pool {
            limit,
            bytes: AtomicUsize::new(0),
            queues: AtomicUsize::new(0),
            owners: Mutex::default(),
            owner_count: AtomicUsize::new(0),
        })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    fn owner(self: &Arc<Self>, name: &Arc<str>) -> Arc<Owner> {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = owners.get(name).and_then(Weak::upgrade) {
            return own;
        }
        let own = Arc::new(Owner { name: name.clone(), bytes: AtomicUsize::new(0), pool: self.clone() });
        owners.insert(name.clone(), Arc::downgrade(&own));
        self.owner_count.store(owners.len(), Relaxed);
        own
    }

    /// Whether a queue that holds `own` may take `more`. Where all are at their limit together, each owner still has its
    /// share of a quarter of it, whatever others do, and each queue of another.
    fn has_room(&self, owner: &Owner, own: usize, more: usize) -> bool {
        let share =
            |held: usize, among: &AtomicUsize| held + more <= self.limit / 4 / among.load(Relaxed).max(1);
        self.bytes.load(Relaxed) + more <= self.limit
            || share(owner.bytes.load(Relaxed), &self.owner_count)
            || share(own, &self.queues)
    }

    fn hold(&self, owner: &Owner, bytes: usize) {
        self.bytes.fetch_add(bytes, Relaxed);
        owner.bytes.fetch_add(bytes, Relaxed);
    }

    fn release(&self, owner: &Owner, bytes: usize) {
        self.bytes.fetch_sub(bytes, Relaxed);
        owner.bytes.fetch_sub(bytes, Relaxed);
    }
}

/// How much may wait for one peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueLimits {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug, Default)]
struct Queue {
    /// Goes out before everything else, but never within a message.
    control: VecDeque<Bytes>,
    control_bytes: usize,
    runs: VecDeque<Run>,
    messages: usize,
    /// Of runs, those included that are being written.
    bytes: usize,
    dropped: u64,
    is_closed: bool,
}

/// The queue of one peer.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    filled: Notify,
    drained: Notify,
    pool: Arc<Pool>,
    owner: Arc<Owner>,
    limits: QueueLimits,
}

impl Outbox {
    pub(crate) fn new(limits: QueueLimits, pool: Arc<Pool>, owner: &Arc<str>) -> Outbox {
        pool.queues.fetch_add(1, Relaxed);
        let owner = pool.owner(owner);
        Outbox { queue: Mutex::default(), filled: Notify::new(), drained: Notify::new(), pool, owner, limits }
    }

    /// Queues runs; gives how many messages had to be dropped. One wake-up for all of them.
    pub(crate) fn push<'a>(&self, runs: impl Iterator<Item = &'a Run>) -> usize {
        let mut queue = self.lock();
        let was_empty = queue.runs.is_empty();
        let mut dropped = 0;
        for run in runs {
            if !self.put(&mut queue, run) {
                dropped += run.messages;
            }
        }
        queue.dropped += dropped as u64;
        let has_news = was_empty && !queue.runs.is_empty();
        drop(queue);
        if has_news {
            self.filled.notify_one();
        }
        dropped
    }

    /// Queues a run as soon as there is room; false if the peer is gone.
    pub(crate) async fn send(&self, run: Run) -> bool {
        loop {
            let room = self.drained.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            {
                let mut queue = self.lock();
                if queue.is_closed {
                    return false;
                }
                let mut is_put = self.put(&mut queue, &run);
                if !is_put && queue.bytes == 0 {
                    // What is larger than all that may wait goes out alone.
                    self.put_anyway(&mut queue, &run);
                    is_put = true;
                }
                if is_put {
                    drop(queue);
                    self.filled.notify_one();
                    return true;
                }
            }
            room.await;
        }
    }

    fn put(&self, queue: &mut Queue, run: &Run) -> bool {
        let cost = run.cost();
        let has_room = !queue.is_closed
            && queue.messages + run.messages <= self.limits.messages
            && queue.bytes + cost <= self.limits.bytes
            && self.pool.has_room(&self.owner, queue.bytes, cost);
        if has_room {
            self.put_anyway(queue, run);
        }
        has_room
    }

    fn put_anyway(&self, queue: &mut Queue, run: &Run) {
        queue.messages += run.messages;
        queue.bytes += run.cost();
        self.pool.hold(&self.owner, run.cost());
        queue.runs.push_back(run.clone());
    }

    /// Queues the answer to a heartbeat, or something else that is small and urgent.
    pub(crate) fn push_control(&self, bytes: Bytes) {
        let mut queue = self.lock();
        if queue.control_bytes + bytes.len() <= CONTROL && !queue.is_closed {
            queue.control_bytes += bytes.len();
            queue.control.push_back(bytes);
            drop(queue);
            self.filled.notify_one();
        }
    }

    /// Takes up to `most` bytes (or one run) to be written. They count until they are [`sent`](Self::sent).
    pub(crate) fn take(&self, most: usize, into: &mut Writing) {
        let mut queue = self.lock();
        if !queue.control.is_empty() {
            queue.control_bytes = 0;
            into.control.append(&mut queue.control);
        }
        let mut bytes = 0;
        while let Some(run) = queue.runs.front() {
            bytes += run.cost();
            if bytes > most && bytes > run.cost() {
                break;
            }
            let Some(run) = queue.runs.pop_front() else { break };
            queue.messages -= run.messages;
            into.runs.push_back(run);
        }
    }

    /// Notes that runs have been written.
    pub(crate) fn sent(&self, runs: impl Iterator<Item = Run>) {
        let mut cost = 0;
        runs.for_each(|run| cost += run.cost());
        self.sent_bytes(cost);
    }

    /// The same of runs that [cost](Run::cost) so much.
    pub(crate) fn sent_bytes(&self, cost: usize) {
        if cost > 0 {
            let mut queue = self.lock();
            // After `close` nothing counts any more.
            if !queue.is_closed {
                queue.bytes -= cost;
                self.pool.release(&self.owner, cost);
            }
            drop(queue);
            self.drained.notify_waiters();
        }
    }

    /// Done when something may wait to be written.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    pub(crate) fn is_empty(&self) -> bool {
        let queue = self.lock();
        queue.runs.is_empty() && queue.control.is_empty()
    }

    /// How many messages were dropped because the peer was too slow.
    pub(crate) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Drops what waits; nothing is taken any more.
    pub(crate) fn close(&self) {
        let mut queue = self.lock();
        if !queue.is_closed {
            queue.is_closed = true;
            self.pool.release(&self.owner, queue.bytes);
            queue.runs = VecDeque::new();
            queue.control = VecDeque::new();
            (queue.bytes, queue.messages) = (0, 0);
        }
        drop(queue);
        self.drained.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it is held; were it so, the queue would still be whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.close();
        self.pool.queues.fetch_sub(1, Relaxed);
    }
}

/// What has been taken out of an [`Outbox`] and is on its way.
#[derive(Debug, Default)]
pub(crate) struct Writing {
    pub(crate) control: VecDeque<Bytes>,
    pub(crate) runs: VecDeque<Run>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn run(size: usize) -> Run {
        Run { bytes: vec![0; size].into(), messages: 1, topic: 0..0 }
    }

    #[test]
    fn whole_messages_are_dropped_beyond_a_limit_and_room_comes_back() {
        let pool = Pool::new(10_000);
        let limits = QueueLimits { messages: 3, bytes: 1000 };
        let outbox = Outbox::new(limits, pool.clone(), &"somebody".into());
        let runs = [run(100), run(900), run(10), run(20), run(30)];
        assert_eq!(outbox.push(runs.iter()), 2);
        assert_eq!(pool.bytes(), 130 + 3 * ENTRY);
        let mut writing = Writing::default();
        outbox.take(1 << 20, &mut writing);
        assert_eq!(writing.runs.len(), 3);
        assert!(outbox.is_empty());
        // What is being written counts still.
        assert_eq!(outbox.push([run(800)].iter()), 1);
        outbox.sent(writing.runs.drain(..));
        assert_eq!(pool.bytes(), 0);
        assert_eq!(outbox.push([run(800)].iter()), 0);
        drop(outbox);
        assert_eq!((pool.bytes(), pool.queues.load(Relaxed)), (0, 0));
    }

    #[test]
    fn all_queues_together_are_bounded_and_each_has_its_share() {
        let pool = Pool::new(10_000);
        let limits = QueueLimits { messages: 1000, bytes: 1 << 20 };
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        let (greedy, modest) =
            (Outbox::new(limits, pool.clone(), &one), Outbox::new(limits, pool.clone(), &one));
        assert_eq!(greedy.push(vec![run(936); 20].iter()), 10);
        assert_eq!(modest.push(vec![run(936); 20].iter()), 19);
        // However many queues somebody has, others have their share.
        let more: Vec<_> = (0..100).map(|_| Outbox::new(limits, pool.clone(), &one)).collect();
        let apart = Outbox::new(limits, pool.clone(), &other);
        assert_eq!(apart.push(vec![run(536); 20].iter()), 18);
        assert!(pool.bytes() <= 15_000);
        drop((greedy, more));
        assert_eq!(modest.push(vec![run(936); 20].iter()), 13);
        drop((modest, apart));
        assert_eq!((pool.bytes(), pool.owner_count.load(Relaxed)), (0, 0));
    }
}
