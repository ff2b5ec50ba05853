//! What brokers tell about themselves, kept over their lives.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Handle;
use zibrato_core::ask::Message;
use zibrato_transport::{Asker, Broker};

/// The newest answer of each life of a broker.
#[derive(Debug, Clone, Default)]
pub struct Told(Arc<Mutex<BTreeMap<String, Value>>>);

impl Told {
    /// Asks a broker every second from now on, for as long as the runtime lives.
    pub fn ask(&self, runtime: &Handle, broker: &Broker) {
        let told = self.0.clone();
        let _inside = runtime.enter();
        let mut asker = Asker::start(broker);
        runtime.spawn(async move {
            let mut every = tokio::time::interval(Duration::from_secs(1));
            loop {
                tokio::select! {
                    _ = every.tick() => drop(asker.send(Message::Info { id: 1 })),
                    message = asker.recv() => if let Message::Told { json, .. } = message
                        && let Ok(value) = serde_json::from_str::<Value>(&json)
                        && let Some(boot) = value["boot"].as_str().map(String::from)
                    {
                        told.lock().unwrap_or_else(PoisonError::into_inner).insert(boot, value);
                    },
                }
            }
        });
    }

    /// The sum of a number over all lives.
    pub fn sum(&self, key: &str) -> u64 {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.values().filter_map(|value| value[key].as_u64()).sum()
    }

    /// What was refused, by reason, over all lives.
    pub fn refused(&self) -> BTreeMap<String, u64> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut refused = BTreeMap::new();
        for (reason, count) in told.values().filter_map(|value| value["rejected"].as_object()).flatten() {
            *refused.entry(reason.clone()).or_default() += count.as_u64().unwrap_or(0);
        }
        refused
    }

    /// Sets that had not come when a later one did, by level, over all lives.
    pub fn gaps(&self) -> BTreeMap<String, u64> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gaps = BTreeMap::new();
        for (level, of) in told.values().filter_map(|value| value["levels"].as_object()).flatten() {
            *gaps.entry(level.clone()).or_default() += of["gaps"].as_u64().unwrap_or(0);
        }
        gaps
    }
}
