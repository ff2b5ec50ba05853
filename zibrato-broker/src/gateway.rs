//! The port of the legacy gateway where old publishers come.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use omq_proto::SocketType;
use tokio::time::MissedTickBehavior;

use crate::admit::{LEVEL, RATE};
use crate::intake::{MOST_PARTS, SLACK};
use crate::legacy::{Gateway, parse};
use crate::net::{
    Batch, Fanout, Item, Peer, QueueLimits, Run, Service, Who, Why, WireLimits, join, subscribe_all,
};
use crate::shared::{Shared, add};
use crate::stop::Stop;

const INTERVAL: Duration = Duration::from_secs(1);

/// Passes old lines on unchanged and turns them into frames.
pub(crate) struct Legacy {
    shared: Arc<Shared>,
    gateway: Mutex<Gateway>,
    fanout: Arc<Fanout>,
}

impl Legacy {
    /// What comes in goes on to `fanout`, and as frames to everybody.
    pub(crate) fn new(shared: Arc<Shared>, fanout: Arc<Fanout>) -> Legacy {
        let gateway = Gateway::new(zibrato_core::frame::InstanceId::random(), shared.source.clone());
        Legacy { shared, gateway: Mutex::new(gateway), fanout }
    }

    /// Sends frames every second until `stop`; then ends the gateway's instance.
    pub(crate) async fn run(self: Arc<Self>, mut stop: Stop) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.stopped() => break,
                _ = ticks.tick() => self.emit(&mut self.gateway(), false),
            }
        }
        self.emit(&mut self.gateway(), true);
    }

    fn emit(&self, gateway: &mut Gateway, last: bool) {
        self.shared.counters.lines_over.store(gateway.over(), Relaxed);
        for (level, frames) in gateway.sets(self.shared.clock.now(), last) {
            for frame in frames {
                self.shared.emit(&level, frame);
            }
        }
    }

    /// Counts a line; false if it may not be passed on either.
    fn take_line(&self, gateway: &mut Gateway, peer: &Peer, parts: &[&[u8]]) -> bool {
        add(&self.shared.counters.lines_in, 1);
        let refuse = |reason, detail: std::fmt::Arguments<'_>| {
            self.shared.refusals.count_of("legacy", reason, peer.who(), detail);
        };
        let [line] = parts else {
            refuse("parts", format_args!("a line of the old protocol has one part"));
            return peer.who.may_use_all();
        };
        let now = self.shared.clock.now();
        if !peer.who.may_see(line) {
            refuse(LEVEL, format_args!("a line of a level that is not allowed"));
            return false;
        }
        if !peer.who.may_send_now(line.len(), now) {
            refuse(RATE, format_args!("more than it may send"));
            return false;
        }
        let taken = parse(line).and_then(|line| gateway.take(&line, now));
        if let Err(why) = taken {
            let start = &line[..line.len().min(100)];
            refuse(why.reason(), format_args!("{why}: {:?}", start.escape_ascii().to_string()));
        }
        true
    }

    fn gateway(&self) -> MutexGuard<'_, Gateway> {
        // A panic under the lock would be a fault of ours; going on with what is there serves everyone better.
        self.gateway.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service for Legacy {
    fn place(&self) -> &'static str {
        "legacy"
    }

    fn kind(&self) -> SocketType {
        SocketType::Sub
    }

    fn wire(&self) -> WireLimits {
        WireLimits { message: zibrato_core::limits::FRAME + SLACK, parts: MOST_PARTS }
    }

    fn queue(&self) -> QueueLimits {
        QueueLimits { messages: 0, bytes: 0 }
    }

    fn refuses(&self, who: &Who) -> Option<Why> {
        (!who.may_send()).then_some("may_not_send")
    }

    fn hello(&self, peer: &Arc<Peer>) {
        subscribe_all(peer);
    }

    fn take(&self, peer: &Arc<Peer>, batch: &Batch<'_>) -> Result<(), Why> {
        // One allocation for all; each line is a slice of it, because each is a topic of its own.
        let wire = batch.own.cloned().unwrap_or_else(|| Bytes::copy_from_slice(batch.bytes));
        let mut runs = Vec::with_capacity(batch.items.len());
        let mut gateway = self.gateway();
        for item in batch.items {
            let Item::Message { wire: place, parts, is_mixed } = item else { continue };
            let ranges = &batch.parts[parts.clone()];
            let parts: Vec<&[u8]> = ranges.iter().map(|p| &batch.bytes[p.clone()]).collect();
            if !self.take_line(&mut gateway, peer, &parts) {
                continue;
            }
            let bytes = if *is_mixed {
                let mut bytes = Vec::new();
                join(&mut bytes, parts.iter().copied());
                bytes.into()
            } else {
                wire.slice(place.clone())
            };
            let first = parts.first().map_or(0, |p| p.len());
            let header = if first > 255 { 9 } else { 2 };
            runs.push(Run { bytes, messages: 1, topic: header..header + first });
        }
        if gateway.is_pressed() {
            self.emit(&mut gateway, false);
        }
        drop(gateway);
        self.fanout.publish(&runs);
        Ok(())
    }

    fn bye(&self, _: &Arc<Peer>) {}
}
