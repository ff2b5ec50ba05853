//! The ports where subscribers come.

use std::sync::Arc;

use omq_proto::SocketType;

use crate::intake::SLACK;
use crate::net::{Batch, Fanout, Peer, QueueLimits, Service, Who, Why, WireLimits};
use crate::refusals::Refusals;

/// A publishing port.
pub(crate) struct Publishing {
    pub(crate) place: &'static str,
    pub(crate) fanout: Arc<Fanout>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) queue: QueueLimits,
}

impl Service for Publishing {
    fn place(&self) -> &'static str {
        self.place
    }

    fn kind(&self) -> SocketType {
        SocketType::Pub
    }

    fn wire(&self) -> WireLimits {
        // A subscriber has nothing to send but subscriptions.
        WireLimits { message: SLACK, parts: 1 }
    }

    fn queue(&self) -> QueueLimits {
        self.queue
    }

    fn refuses(&self, who: &Who) -> Option<Why> {
        (!who.may_receive()).then_some("may_not_receive")
    }

    fn hello(&self, peer: &Arc<Peer>) {
        self.fanout.add(peer);
    }

    fn take(&self, peer: &Arc<Peer>, batch: &Batch<'_>) -> Result<(), Why> {
        self.fanout.take(peer, batch, &self.refusals, self.place);
        Ok(())
    }

    fn bye(&self, peer: &Arc<Peer>) {
        self.fanout.remove(peer);
    }
}
