//! What has been given to a socket and is not encoded by its writer yet.
//!
//! The socket's own queue takes 100,000 messages of any size, has no option, and tells nothing. But its
//! writer drops a message as soon as it has encoded it into its buffer of at most 128 KiB and one message;
//! so a part that tells when it is dropped shows how far the writer is, and lets us keep the queue short.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

/// Most messages in a socket's own queue: a batch of its writer.
const MESSAGES: usize = 128;
/// From how many bytes in a socket's own queue on it is given no more.
const BYTES: usize = 256 << 10;

#[derive(Debug, Default)]
pub(crate) struct Window {
    messages: AtomicUsize,
    bytes: AtomicUsize,
    taken: AtomicUsize,
    progress: Notify,
}

impl Window {
    pub(crate) fn has_room(&self) -> bool {
        self.messages() < MESSAGES && self.bytes.load(Ordering::Acquire) < BYTES
    }

    /// How many messages wait in the socket's own queue.
    pub(crate) fn messages(&self) -> usize {
        self.messages.load(Ordering::Acquire)
    }

    /// How many messages its writer has taken since it was made.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// Waits until the writer has taken a message since the last call.
    pub(crate) async fn progress(&self) {
        self.progress.notified().await;
    }

    /// The message to give to the socket, counted until its writer has taken it; `None` without parts.
    pub(crate) fn track(self: &Arc<Self>, mut parts: Vec<Bytes>) -> Option<Vec<Bytes>> {
        let size = parts.iter().map(Bytes::len).sum();
        let part = parts.pop()?;
        self.messages.fetch_add(1, Ordering::AcqRel);
        self.bytes.fetch_add(size, Ordering::AcqRel);
        parts.push(Bytes::from_owner(Tracked { part, size, window: self.clone() }));
        Some(parts)
    }
}

struct Tracked {
    part: Bytes,
    size: usize,
    window: Arc<Window>,
}

impl AsRef<[u8]> for Tracked {
    fn as_ref(&self) -> &[u8] {
        &self.part
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.window.taken.fetch_add(1, Ordering::AcqRel);
        self.window.bytes.fetch_sub(self.size, Ordering::AcqRel);
        self.window.messages.fetch_sub(1, Ordering::AcqRel);
        self.window.progress.notify_one();
    }
}
