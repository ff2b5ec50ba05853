//! The prefixes that a subscriber asked for.

use std::collections::{BTreeMap, HashMap};

/// Longest that prefixes are on average where there are as many as there may be; topics are no longer.
const USUAL: usize = 64;

/// How many, and how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SubscriptionLimits {
    pub(crate) count: usize,
    pub(crate) length: usize,
}

/// Why a subscription is not remembered; the words are the names of counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotSubscribed {
    /// It is longer than any topic, so nothing could match it.
    TooLong,
    TooMany,
}

impl NotSubscribed {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            NotSubscribed::TooLong => "subscription_too_long",
            NotSubscribed::TooMany => "too_many_subscriptions",
        }
    }
}

/// Prefixes, each as often as it was asked for. Looking a topic up costs a hash for each length of prefix.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    prefixes: HashMap<Box<[u8]>, u32>,
    /// Of all prefixes together.
    bytes: usize,
    lengths: BTreeMap<usize, usize>,
}

impl Subscriptions {
    pub(crate) fn add(&mut self, prefix: &[u8], limits: SubscriptionLimits) -> Result<(), NotSubscribed> {
        if prefix.len() > limits.length {
            return Err(NotSubscribed::TooLong);
        }
        if let Some(count) = self.prefixes.get_mut(prefix) {
            *count = count.saturating_add(1);
            return Ok(());
        }
        if self.prefixes.len() >= limits.count || self.bytes + prefix.len() > limits.count * USUAL {
            return Err(NotSubscribed::TooMany);
        }
        self.bytes += prefix.len();
        self.prefixes.insert(prefix.into(), 1);
        *self.lengths.entry(prefix.len()).or_default() += 1;
        Ok(())
    }

    pub(crate) fn remove(&mut self, prefix: &[u8]) {
        let Some(count) = self.prefixes.get_mut(prefix) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        self.prefixes.remove(prefix);
        self.bytes -= prefix.len();
        if let Some(count) = self.lengths.get_mut(&prefix.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
    }

    pub(crate) fn matches(&self, topic: &[u8]) -> bool {
        self.lengths.range(..=topic.len()).any(|(length, _)| self.prefixes.contains_key(&topic[..*length]))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_match_as_often_as_they_were_asked_for() {
        let limits = SubscriptionLimits { count: 2, length: 5 };
        let mut subscriptions = Subscriptions::default();
        assert!(!subscriptions.matches(b"info|"));
        for _ in 0..2 {
            subscriptions.add(b"info|", limits).unwrap();
        }
        assert!(subscriptions.matches(b"info|") && subscriptions.matches(b"info|more"));
        assert!(!subscriptions.matches(b"info") && !subscriptions.matches(b"error|"));
        assert_eq!(subscriptions.add(b"error|", limits), Err(NotSubscribed::TooLong));
        subscriptions.add(b"", limits).unwrap();
        assert_eq!(subscriptions.add(b"a", limits), Err(NotSubscribed::TooMany));
        assert!(subscriptions.matches(b"") && subscriptions.matches(b"error|"));
        subscriptions.remove(b"");
        subscriptions.remove(b"never");
        subscriptions.remove(b"info|");
        assert!(subscriptions.matches(b"info|") && !subscriptions.matches(b"error|"));
        subscriptions.remove(b"info|");
        assert!(!subscriptions.matches(b"info|"));
        assert_eq!(
            (subscriptions.prefixes.len(), subscriptions.lengths.len(), subscriptions.bytes),
            (0, 0, 0)
        );
    }

    #[test]
    fn long_prefixes_are_fewer() {
        let limits = SubscriptionLimits { count: 100, length: 1024 };
        let mut subscriptions = Subscriptions::default();
        let added = (0..100u8).filter(|n| subscriptions.add(&[*n; 1024], limits).is_ok()).count();
        assert_eq!(added, 6);
        assert_eq!(subscriptions.add(b"short", limits), Ok(()));
    }
}
