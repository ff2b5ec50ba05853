//! Waiting for what must come true.

use std::time::{Duration, Instant};

/// How long a condition is waited for: much longer than anything takes here.
pub const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// Asks until the answer is there, and gives it.
///
/// # Panics
/// When it did not come true in [`PATIENCE`]: tells `what` was waited for, and the last answer.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(why) if began.elapsed() > PATIENCE => panic!("waited in vain until {what}: {why}"),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// The same for questions that are async.
///
/// # Panics
/// As [`until`].
pub async fn until_async<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(why) if began.elapsed() > PATIENCE => panic!("waited in vain until {what}: {why}"),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
