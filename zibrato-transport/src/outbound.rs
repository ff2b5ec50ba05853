//! The queue in front of a socket, bounded in bytes, messages and age.

use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// What a message costs beyond its bytes, about.
const OVERHEAD: usize = 128;

/// How much may wait for a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes; 32 MiB by default.
    pub bytes: usize,
    /// Most messages; 8192 by default, twice the most parts of a set.
    pub messages: usize,
    /// What has waited for longer is dropped; 10 s by default, the time between two complete sets.
    ///
    /// A receiver infers an instance's age from the time in its frame, so a frame must not come late.
    pub age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { bytes: 32 << 20, messages: 8192, age: Duration::from_secs(10) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) parts: Vec<Bytes>,
    pub(crate) since: Instant,
    /// It was given to a socket before, so it is counted already.
    pub(crate) again: bool,
}

impl Outgoing {
    pub(crate) fn new(parts: Vec<Bytes>) -> Self {
        Outgoing { parts, since: Instant::now(), again: false }
    }

    pub(crate) fn size(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum::<usize>() + OVERHEAD
    }
}

#[derive(Debug)]
pub(crate) struct Outbound {
    queue: VecDeque<Outgoing>,
    bytes: usize,
    limits: Limits,
}

impl Outbound {
    pub(crate) fn new(limits: Limits) -> Self {
        Outbound { queue: VecDeque::new(), bytes: 0, limits }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn contains(&self, parts: &[Bytes]) -> bool {
        self.queue.iter().any(|waiting| waiting.parts == parts)
    }

    pub(crate) fn fits(&self, outgoing: &Outgoing) -> bool {
        self.queue.len() < self.limits.messages && self.bytes + outgoing.size() <= self.limits.bytes
    }

    /// Appends it where it fits.
    pub(crate) fn push(&mut self, outgoing: Outgoing) -> bool {
        let fits = self.fits(&outgoing);
        if fits {
            self.bytes += outgoing.size();
            self.queue.push_back(outgoing);
        }
        fits
    }

    /// Puts it before all others, whatever the limits say: it was here before and is about to leave again.
    pub(crate) fn push_front(&mut self, outgoing: Outgoing) {
        self.bytes += outgoing.size();
        self.queue.push_front(outgoing);
    }

    pub(crate) fn pop(&mut self) -> Option<Outgoing> {
        let outgoing = self.queue.pop_front()?;
        self.bytes -= outgoing.size();
        Some(outgoing)
    }

    /// Makes room for one more by dropping the oldest until half of every limit is free: drops in long runs
    /// leave whole sets behind, where dropping one at a time would take a part out of each. Says how many.
    pub(crate) fn halve(&mut self) -> u64 {
        let mut dropped = 0;
        while self.bytes > self.limits.bytes / 2 || self.queue.len() > self.limits.messages / 2 {
            dropped += u64::from(self.pop().is_some_and(|o| !o.again));
        }
        dropped
    }

    /// Drops what has waited for too long; says how many.
    pub(crate) fn expire(&mut self, now: Instant) -> u64 {
        let mut dropped = 0;
        while self.queue.front().is_some_and(|o| now.duration_since(o.since) > self.limits.age) {
            dropped += u64::from(self.pop().is_some_and(|o| !o.again));
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing(size: usize) -> Outgoing {
        Outgoing::new(vec![vec![0; size].into()])
    }

    #[test]
    fn takes_no_more_than_its_limits() {
        let limits = Limits { bytes: 3 * (100 + OVERHEAD), messages: 5, ..Limits::default() };
        let mut outbound = Outbound::new(limits);
        assert_eq!((0..10).filter(|_| outbound.push(outgoing(100))).count(), 3);
        assert_eq!(outbound.bytes(), limits.bytes);
        while outbound.pop().is_some() {}
        assert_eq!((outbound.bytes(), outbound.is_empty()), (0, true));
        assert_eq!((0..10).filter(|_| outbound.push(outgoing(0))).count(), 5);
    }

    #[test]
    fn drops_the_oldest_half_at_once() {
        let mut outbound = Outbound::new(Limits { messages: 10, ..Limits::default() });
        (0..10).for_each(|i| assert!(outbound.push(outgoing(i))));
        assert_eq!(outbound.halve(), 5);
        assert_eq!(outbound.pop().map(|o| o.parts[0].len()), Some(5));
    }

    #[test]
    fn drops_what_is_too_old_and_counts_only_what_was_never_sent() {
        let mut outbound = Outbound::new(Limits::default());
        let old = Outgoing { since: Instant::now(), ..outgoing(1) };
        let new = Outgoing { since: old.since + Duration::from_secs(9), ..outgoing(2) };
        assert!(outbound.push(old.clone()) && outbound.push(new));
        outbound.push_front(Outgoing { again: true, ..old.clone() });
        assert_eq!(outbound.expire(old.since + Duration::from_secs(10)), 0);
        assert_eq!(outbound.expire(old.since + Duration::from_secs(11)), 1);
        assert_eq!(outbound.pop().map(|o| o.parts[0].len()), Some(2));
    }
}
