//! The publishing end: who subscribed to what.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::connection::{Batch, Peer};
use super::outbox::Run;
use super::split::Item;
use super::subscriptions::{SubscriptionLimits, Subscriptions};
use crate::refusals::Refusals;

struct Subscriber {
    peer: Arc<Peer>,
    subscriptions: Mutex<Subscriptions>,
}

/// All subscribers of a port.
pub(crate) struct Fanout {
    subscribers: RwLock<Arc<Vec<Arc<Subscriber>>>>,
    limits: SubscriptionLimits,
    dropped: AtomicU64,
}

impl Fanout {
    /// Subscriptions beyond `count` or `length` match nothing, and are not remembered.
    pub(crate) fn new(count: usize, length: usize) -> Fanout {
        let limits = SubscriptionLimits { count, length };
        Fanout { subscribers: RwLock::default(), limits, dropped: AtomicU64::new(0) }
    }

    pub(crate) fn add(&self, peer: &Arc<Peer>) {
        let subscriber = Subscriber { peer: peer.clone(), subscriptions: Mutex::default() };
        self.change(|list| list.push(Arc::new(subscriber)));
    }

    pub(crate) fn remove(&self, peer: &Arc<Peer>) {
        self.change(|list| list.retain(|s| !Arc::ptr_eq(&s.peer, peer)));
    }

    /// Subscribes a peer to what it asked for, by commands or, up to ZMTP 3.0, by messages.
    pub(crate) fn take(&self, peer: &Arc<Peer>, batch: &Batch<'_>, refusals: &Refusals, place: &'static str) {
        let list = self.list();
        let Some(subscriber) = list.iter().find(|s| Arc::ptr_eq(&s.peer, peer)) else { return };
        let mut subscriptions = subscriber.subscriptions.lock().unwrap_or_else(PoisonError::into_inner);
        for item in batch.items {
            let (adds, prefix) = match item {
                Item::Command(body) => match command(&batch.bytes[body.clone()]) {
                    Some((b"SUBSCRIBE", prefix)) => (true, prefix),
                    Some((b"CANCEL", prefix)) => (false, prefix),
                    _ => continue,
                },
                Item::Message { parts, .. } => {
                    let body = batch.parts.get(parts.start).map_or(&[][..], |p| &batch.bytes[p.clone()]);
                    match body.split_first() {
                        Some((1, prefix)) => (true, prefix),
                        Some((0, prefix)) => (false, prefix),
                        _ => {
                            refusals.count_of(
                                place,
                                "unexpected",
                                peer.who(),
                                "a message to a publishing end",
                            );
                            continue;
                        }
                    }
                }
            };
            if !adds {
                subscriptions.remove(prefix);
            } else if let Err(why) = subscriptions.add(prefix, self.limits) {
                refusals.count_of(place, why.reason(), peer.who(), format_args!("{} bytes", prefix.len()));
            }
        }
    }

    /// Queues runs for everyone who subscribed to their topics; who is too slow misses them.
    pub(crate) fn publish(&self, runs: &[Run]) {
        for subscriber in self.list().iter() {
            let subscriptions = subscriber.subscriptions.lock().unwrap_or_else(PoisonError::into_inner);
            let wanted = runs.iter().filter(|run| {
                let topic = run.topic();
                subscriptions.matches(topic) && subscriber.peer.may_see(topic)
            });
            let dropped = subscriber.peer.outbox.push(wanted);
            if dropped > 0 {
                self.dropped.fetch_add(dropped as u64, Relaxed);
            }
        }
    }

    /// How many messages slow subscribers have missed, together.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Who misses messages because it is slow, and how many; the slowest first.
    pub(crate) fn slowest(&self, most: usize) -> Vec<(String, u64)> {
        let all = self.list();
        let mut slow: Vec<_> = all
            .iter()
            .map(|s| (s.peer.who().to_owned(), s.peer.outbox.dropped()))
            .filter(|s| s.1 > 0)
            .collect();
        slow.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        slow.truncate(most);
        slow
    }

    fn list(&self) -> Arc<Vec<Arc<Subscriber>>> {
        self.subscribers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Subscriber>>)) {
        let mut list = self.subscribers.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = (**list).clone();
        change(&mut changed);
        *list = Arc::new(changed);
    }
}

/// The name of a command and what follows it.
pub(super) fn command(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}
