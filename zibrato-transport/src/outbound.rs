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
