//! The channel from a socket's task to whoever receives, bounded in bytes.
//!
//! When it is full the task reads no more, TCP passes that on, and the broker drops what it may drop.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Most bytes that wait for the receiver; a larger message passes alone.
const BYTES: usize = 8 << 20;
/// What a message costs beyond its bytes, about.
const OVERHEAD: usize = 128;

#[derive(Debug)]
pub(crate) struct Inbox<T> {
    messages: mpsc::UnboundedReceiver<(T, OwnedSemaphorePermit)>,
}

#[derive(Debug)]
pub(crate) struct Letterbox<T> {
    messages: mpsc::UnboundedSender<(T, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
}

// Derived, it would ask the same of T.
impl<T> Clone for Letterbox<T> {
    fn clone(&self) -> Self {
        Letterbox { messages: self.messages.clone(), room: self.room.clone() }
    }
}

pub(crate) fn inbox<T>() -> (Letterbox<T>, Inbox<T>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(BYTES));
    (Letterbox { messages: sender, room }, Inbox { messages: receiver })
}

impl<T> Letterbox<T> {
    /// Waits for room; `false` where nobody receives any more.
    pub(crate) async fn put(&self, message: T, size: usize) -> bool {
        // At most BYTES, which fits: the conversion cannot fail.
        let size = u32::try_from((size + OVERHEAD).min(BYTES)).unwrap_or(u32::MAX);
        let permit = tokio::select! {
            permit = self.room.clone().acquire_many_owned(size) => permit,
            () = self.messages.closed() => return false,
        };
        permit.is_ok_and(|permit| self.messages.send((message, permit)).is_ok())
    }
}

impl<T> Inbox<T> {
    /// The next message; `None` when all its tasks have ended. May be dropped without losing one.
    pub(crate) async fn take(&mut self) -> Option<T> {
        self.messages.recv().await.map(|(message, _)| message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn holds_its_bytes_and_no_more_until_they_are_taken() {
        let (letterbox, mut inbox) = inbox();
        let size = 1 << 20;
        let sender = tokio::spawn(async move {
            for i in 0.. {
                if !letterbox.put(i, size).await {
                    return i;
                }
            }
            0
        });
        // The sender runs until it has to wait.
        tokio::task::yield_now().await;
        assert_eq!(inbox.messages.len(), BYTES / (size + OVERHEAD));
        for i in 0..100 {
            assert_eq!(timeout(Duration::from_secs(60), inbox.take()).await, Ok(Some(i)));
        }
        drop(inbox);
        assert!(timeout(Duration::from_secs(60), sender).await.unwrap().unwrap() >= 100);
    }

    #[tokio::test]
    async fn a_message_larger_than_all_its_room_passes_alone() {
        let (letterbox, mut inbox) = inbox();
        assert!(letterbox.put(1, BYTES * 2).await);
        assert!(timeout(Duration::from_millis(10), letterbox.put(2, 0)).await.is_err());
        assert_eq!(inbox.take().await, Some(1));
        assert!(letterbox.put(2, 0).await);
    }
}
