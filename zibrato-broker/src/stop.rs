//! How the tasks are told to stop.

use tokio::sync::watch;

/// Waits for the end.
#[derive(Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

/// Brings it about.
pub(crate) struct Stopper(watch::Sender<bool>);

pub(crate) fn channel() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    pub(crate) fn stop(&self) {
        // Fails only when no task listens any more, because all have ended.
        let _ = self.0.send(true);
    }
}

impl Stop {
    /// Done once it is time to stop, also when the one who would say so is gone.
    pub(crate) async fn stopped(&mut self) {
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}
