//! Whether the loops of a program turn.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Of a loop that waits for work, which it may do for ever.
const WAITS: u64 = u64::MAX;

static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds on a clock that is never stepped.
fn now() -> u64 {
    u64::try_from(BEGAN.elapsed().as_millis()).unwrap_or(WAITS - 1)
}

/// The loops of a program. Clones are of the same.
#[derive(Debug, Clone, Default)]
pub struct Liveness(Arc<Mutex<Vec<Weak<Inner>>>>);

#[derive(Debug)]
struct Inner {
    name: String,
    limit: Duration,
    /// Since when it is at the same thing.
    since: AtomicU64,
}

/// One loop; it is no longer watched once it is dropped.
#[derive(Debug)]
pub struct Loop(Arc<Inner>);

/// That a loop which mostly waits is at work, until this is dropped.
#[derive(Debug)]
pub struct Working<'a>(&'a Inner);

impl Liveness {
    /// A loop that turns by itself, of which no turn takes longer than `limit`.
    pub fn regular(&self, name: impl Into<String>, limit: Duration) -> Loop {
        self.add(name.into(), limit, now())
    }

    /// A loop that waits for work, of which no piece takes longer than `limit`.
    pub fn on_demand(&self, name: impl Into<String>, limit: Duration) -> Loop {
        self.add(name.into(), limit, WAITS)
    }

    fn add(&self, name: String, limit: Duration, since: u64) -> Loop {
        let inner = Arc::new(Inner { name, limit, since: AtomicU64::new(since) });
        let mut loops = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loops.retain(|known| known.strong_count() > 0);
        loops.push(Arc::downgrade(&inner));
        Loop(inner)
    }

    /// What is stuck, in words; nothing where all loops turn. Waits for nobody.
    pub fn stuck(&self) -> Vec<String> {
        let loops = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now();
        let stuck = loops.iter().filter_map(Weak::upgrade).filter_map(|one| {
            let since = one.since.load(Relaxed);
            let time = Duration::from_millis(now.saturating_sub(since));
            (since != WAITS && time > one.limit)
                .then(|| format!("{} has not come round for {} s", one.name, time.as_secs()))
        });
        stuck.collect()
    }
}

impl Loop {
    /// It has come round.
    pub fn turned(&self) {
        self.0.since.store(now(), Relaxed);
    }

    /// It is at work until the answer is dropped.
    pub fn working(&self) -> Working<'_> {
        self.turned();
        Working(&self.0)
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.since.store(WAITS, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until_stuck(liveness: &Liveness) -> Vec<String> {
        loop {
            let stuck = liveness.stuck();
            if !stuck.is_empty() {
                return stuck;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn loops_are_stuck_when_they_do_not_come_round() {
        let liveness = Liveness::default();
        let regular = liveness.regular("the pulse", Duration::from_millis(20));
        let long = liveness.regular("another", Duration::from_secs(3600));
        assert!(until_stuck(&liveness)[0].starts_with("the pulse has not come round for"));
        regular.turned();
        drop(regular);
        assert!(liveness.stuck().is_empty());
        let writer = liveness.on_demand("the writer", Duration::from_millis(20));
        std::thread::sleep(Duration::from_millis(30));
        assert!(liveness.stuck().is_empty(), "it waits for work");
        let working = writer.working();
        assert_eq!(until_stuck(&liveness).len(), 1);
        drop(working);
        assert!(liveness.stuck().is_empty());
        drop(long);
    }
}
