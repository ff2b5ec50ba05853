use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;
use zibrato_core::cell::fork;
use zibrato_core::registry;

use super::builder::{InstallError, Settings};
use super::thread::{self, Board, Order};
use super::{installed, say};
use crate::status::Status;

/// How much longer than its own deadline the thread may take where the system does not schedule it.
const SCHEDULING: Duration = Duration::from_secs(1);
/// The same where it writes a file afterwards, which a busy disk holds up. Who leaves before has lost what is in it.
const WRITING: Duration = Duration::from_secs(10);

/// What the process knows of its publisher.
#[derive(Debug)]
pub(super) struct Installed {
    board: Arc<Board>,
}

impl Installed {
    pub(super) fn fill_status(&self, status: Status) -> Status {
        let (brokers, frames_sent, frames_dropped) = self.board.read();
        Status { installed: true, brokers, frames_sent, frames_dropped, ..status }
    }
}

/// Sends until it is dropped; the drop delivers the last totals, and waits for that until the
/// [deadline](crate::Builder::deadline) at most. What is then left to be [spilled](crate::Builder::spill) is waited for, too,
/// on a disk that does not answer for ten seconds.
///
/// What is measured afterwards belongs to a new instance, which starts at zero with the next
/// [`install`](crate::install).
#[derive(Debug)]
#[must_use = "dropping the guard stops sending; keep it until the end of main"]
pub struct Guard {
    orders: mpsc::UnboundedSender<Order>,
    thread: Option<JoinHandle<()>>,
    forks: u64,
    patience: Duration,
}

impl Guard {
    pub(super) fn start(settings: Settings) -> Result<Self, InstallError> {
        fork::watch();
        zibrato_transport::prepare();
        let mut place = installed();
        if place.is_some() {
            return Err(InstallError::AlreadyInstalled);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(InstallError::Thread)?;
        registry::set_limit(settings.metrics);
        registry::set_idle(settings.idle);
        registry::set_levels(settings.levels.clone());
        registry::set_traced(settings.trace.clone());
        let (orders, inbox) = mpsc::unbounded_channel();
        let board = Arc::new(Board::default());
        let patience = settings.deadline + if settings.spill.is_some() { WRITING } else { SCHEDULING };
        let posted = board.clone();
        let thread = std::thread::Builder::new()
            .name("zibrato".into())
            .spawn(move || thread::run(runtime, settings, inbox, &posted))
            .map_err(InstallError::Thread)?;
        *place = Some(Installed { board });
        registry::set_installed(true);
        Ok(Guard { orders, thread: Some(thread), forks: fork::forks(), patience })
    }

    /// Sends what has changed now instead of at the end of the interval, and returns when the frames are on their
    /// way, or after `patience`; `false` in the latter case.
    pub fn flush(&self, patience: Duration) -> bool {
        let (done, wait) = std::sync::mpsc::channel();
        let ordered = self.forks == fork::forks() && self.orders.send(Order::Flush(done)).is_ok();
        // The thread drops the sender where it ends first.
        ordered
            && !matches!(
                wait.recv_timeout(patience),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)
            )
    }

    /// Does what the drop does, and tells whether a broker has acknowledged the last totals; if not, that has been
    /// said on stderr.
    pub fn finish(mut self) -> bool {
        self.end()
    }

    fn end(&mut self) -> bool {
        let Some(thread) = self.thread.take() else { return false };
        if self.forks != fork::forks() {
            // A forked child has the guard, but neither the thread nor what it sent.
            std::mem::forget(thread);
            return false;
        }
        let (done, wait) = std::sync::mpsc::channel();
        // The thread keeps its own deadline; this one only guards against a system that does not schedule it.
        let ordered = self.orders.send(Order::End(done)).is_ok();
        let delivered = ordered.then(|| wait.recv_timeout(self.patience).ok()).flatten();
        if delivered.is_some() {
            let _ = thread.join();
        } else {
            say(format_args!("the thread that sends does not answer; the last totals may be lost"));
        }
        registry::set_installed(false);
        *installed() = None;
        delivered == Some(true)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.end();
    }
}
