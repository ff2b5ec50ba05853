//! What systemd is told, where it started the process.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Tells systemd that the program is ready.
pub fn notify_ready() {
    notify(State::Ready);
}

/// Tells systemd that the program is about to end.
pub fn notify_stopping() {
    notify(State::Stopping);
}

#[derive(Clone, Copy)]
enum State {
    Ready,
    Stopping,
    Alive,
}

#[cfg(unix)]
fn notify(state: State) {
    let state = match state {
        State::Ready => sd_notify::NotifyState::Ready,
        State::Stopping => sd_notify::NotifyState::Stopping,
        State::Alive => sd_notify::NotifyState::Watchdog,
    };
    if let Err(why) = sd_notify::notify(&[state]) {
        tracing::warn!(%why, "failed to notify systemd");
    }
}

#[cfg(not(unix))]
fn notify(_: State) {}

#[cfg(unix)]
fn wanted() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

#[cfg(not(unix))]
fn wanted() -> Option<Duration> {
    None
}

/// Feeds systemd's watchdog as long as the program is healthy; ends when it is dropped.
///
/// It is a thread of its own, because what it watches are the tasks of a runtime.
#[derive(Debug)]
pub struct Watchdog {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Begins, where the unit has `WatchdogSec=`; `None` where it has not.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(troubles: impl Fn() -> Vec<String> + Send + 'static) -> std::io::Result<Option<Watchdog>> {
        let Some(patience) = wanted() else { return Ok(None) };
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::Builder::new().name("zibrato-watchdog".into()).spawn(move || {
            let mut said = false;
            loop {
                let troubles = troubles();
                if troubles.is_empty() {
                    notify(State::Alive);
                } else if !said {
                    let seconds = patience.as_secs();
                    tracing::error!(
                        "the program is stuck, and systemd ends it if that lasts {seconds} s: {}",
                        troubles.join("; ")
                    );
                }
                said = !troubles.is_empty();
                // Three chances in its time.
                match stopped.recv_timeout(patience / 3) {
                    Err(RecvTimeoutError::Timeout) => {}
                    _ => return,
                }
            }
        })?;
        Ok(Some(Watchdog { stop: Some(stop), thread: Some(thread) }))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has not panicked, and if it had there would be nothing left to do.
            let _ = thread.join();
        }
    }
}
