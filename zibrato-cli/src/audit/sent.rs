//! What programs have sent, as brokers keep it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use zibrato_core::ask::Message;
use zibrato_core::frame::{Flags, InstanceId, Key, Kind, decode};
use zibrato_core::level::of_topic;
use zibrato_transport::{Asker, Broker};
use zibrato_worker::Amount;

/// How long to wait before a question is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// The totals of a metric.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Total {
    /// The set that they are from.
    pub(crate) sequence: u64,
    pub(crate) amount: Amount,
}

/// One instance at one level.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origin {
    pub(crate) source: String,
    pub(crate) sequence: u64,
    /// Whether the newest set was its last.
    pub(crate) has_ended: bool,
    /// How long ago the newest set came to a broker, in nanoseconds.
    pub(crate) held: u64,
    pub(crate) metrics: HashMap<Key, Total>,
}

/// What brokers keep, merged as a worker merges it: the newest row of each metric counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sent(pub(crate) BTreeMap<(InstanceId, String), Origin>);

impl Sent {
    fn merge(&mut self, topic: &[u8], frame: &[u8], held: u64) {
        let (Some(level), Ok(decoded)) = (of_topic(topic), decode(frame)) else { return };
        let head = decoded.frame.head;
        let origin = self.0.entry((head.instance, level.to_string())).or_default();
        if head.sequence >= origin.sequence {
            (origin.sequence, origin.source) = (head.sequence, head.source);
            (origin.has_ended, origin.held) = (head.flags.has(Flags::LAST), held);
        }
        for row in decoded.frame.rows {
            if !matches!(row.key.kind, Kind::Counter | Kind::Updown | Kind::Timer | Kind::Distribution) {
                continue;
            }
            let new = Total { sequence: head.sequence, amount: Amount::of_state(&row.state) };
            let total = origin.metrics.entry(row.key).or_insert(new);
            if new.sequence > total.sequence {
                *total = new;
            }
        }
    }
}

/// The connection for asking one broker.
pub(crate) struct Questions {
    asker: Asker,
    last_id: u64,
}

impl Questions {
    /// Must be called within a tokio runtime.
    pub(crate) fn start(broker: &Broker) -> Questions {
        Questions { asker: Asker::start(broker), last_id: 0 }
    }

    /// What the broker tells about itself; nothing without an answer until `deadline`.
    pub(crate) async fn info(&mut self, deadline: Instant) -> Option<Value> {
        while Instant::now() < deadline {
            self.last_id += 1;
            self.asker.send(Message::Info { id: self.last_id });
            let until = deadline.min(Instant::now() + AGAIN);
            while let Ok(message) = timeout_at(until, self.asker.recv()).await {
                if let Message::Told { id, json } = message
                    && id == self.last_id
                {
                    return serde_json::from_str(&json).ok();
                }
            }
        }
        None
    }

    /// Adds all that the broker keeps; false without a whole answer until `deadline`.
    pub(crate) async fn sent(&mut self, sent: &mut Sent, deadline: Instant) -> bool {
        while Instant::now() < deadline {
            self.last_id += 1;
            let asked = self.last_id;
            self.asker.send(Message::Ask { id: asked, levels: Vec::new(), cursor: None, talking: false });
            let (mut got, mut end) = (std::collections::HashSet::new(), None);
            let mut until = deadline.min(Instant::now() + AGAIN);
            while let Ok(message) = timeout_at(until, self.asker.recv()).await {
                match message {
                    Message::Kept { id, index, held, topic, frame } if id == asked => {
                        sent.merge(&topic, &frame, held);
                        got.insert(index);
                        // An answer that moves is waited for.
                        until = deadline.min(Instant::now() + AGAIN);
                    }
                    Message::Done { id, count, .. } if id == asked => end = Some(count),
                    _ => {}
                }
                if end == Some(got.len() as u64) {
                    return true;
                }
            }
        }
        false
    }
}
