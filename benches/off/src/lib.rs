//! Functions that are measured with the feature `measured`, and bare without it.
//!
//! Zibrato's own feature `enable` is off, so both must compile to the same instructions: `cargo xtask test` compares
//! what the compiler makes of them.

use std::hint::black_box;
use std::num::ParseIntError;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// A leaf, counted.
#[inline(never)]
#[cfg_attr(feature = "measured", zibrato::count_me)]
pub fn counted(x: u64) -> u64 {
    x.wrapping_mul(3)
}

/// Counted by a value that is known only at run time.
#[inline(never)]
#[cfg_attr(feature = "measured", zibrato::count_me(level = "debug", value = bytes.len(), tags(kind = "sent")))]
pub fn counted_by_value(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}

/// Counted by how it ends.
///
/// # Errors
/// When it is no number.
#[inline(never)]
#[cfg_attr(feature = "measured", zibrato::count_me(outcome))]
pub fn counted_by_outcome(text: &str) -> Result<u32, ParseIntError> {
    text.parse()
}

/// A leaf, timed.
#[inline(never)]
#[cfg_attr(feature = "measured", zibrato::time_me)]
pub fn timed(x: u64) -> u64 {
    x.wrapping_mul(5)
}

/// Timed, and may panic.
#[inline(never)]
#[cfg_attr(feature = "measured", zibrato::time_me(name = "sum", source = "here"))]
pub fn timed_and_may_panic(numbers: &[u64]) -> u64 {
    numbers.iter().try_fold(0u64, |sum, n| sum.checked_add(*n)).expect("a sum that is too large")
}

/// Timed now and then.
#[inline(never)]
#[cfg_attr(feature = "measured", zibrato::time_me(sample = 16))]
pub fn timed_now_and_then(x: u64) -> u64 {
    black_box(x).wrapping_mul(7)
}

/// Timed with an ordered clock.
#[inline(never)]
#[cfg_attr(feature = "measured", zibrato::time_me(ordered))]
pub fn timed_in_order(x: u64) -> u64 {
    black_box(x).wrapping_mul(9)
}

/// Timed by how it ends.
///
/// # Errors
/// When it is no number.
#[inline(never)]
#[cfg_attr(feature = "measured", zibrato::time_me(outcome))]
pub fn timed_by_outcome(text: &str) -> Result<u64, ParseIntError> {
    text.parse()
}

/// A loop with one of every macro.
#[inline(never)]
pub fn in_place(numbers: &[u64], waited: Duration) -> u64 {
    #[cfg(feature = "measured")]
    let _timing = zibrato::time!("in_place");
    #[cfg(feature = "measured")]
    zibrato::timing!("waited", waited);
    let mut sum = black_box(waited).subsec_nanos().into();
    for n in numbers {
        #[cfg(feature = "measured")]
        {
            zibrato::count!("numbers");
            zibrato::count!(level = "debug", tags("parity" = "any"), "value", *n);
            zibrato::count!("half", *n as f64 * 0.5);
            zibrato::updown!("balance", -1);
            zibrato::gauge!("last", *n);
            zibrato::record!("spread", *n);
            let _timing = zibrato::time!(sample = 4, "step");
        }
        sum ^= black_box(*n);
    }
    sum
}

/// A future, timed from its first poll to its end.
#[cfg_attr(feature = "measured", zibrato::time_me(level = "debug"))]
#[cfg_attr(feature = "measured", zibrato::count_me(outcome))]
async fn later(x: u64) -> Result<u64, ParseIntError> {
    std::future::poll_fn(|_| if black_box(x) > 3 { Poll::Ready(()) } else { Poll::Pending }).await;
    Ok(x.wrapping_mul(11))
}

/// Polls a future that is timed, and drops it.
#[inline(never)]
pub fn polled(context: &mut Context<'_>, x: u64) -> Poll<Result<u64, ParseIntError>> {
    let future = pin!(later(x));
    black_box(size_of_val(&future));
    future.poll(context)
}
/// A loop with one of every handle.
#[inline(never)]
pub fn through_handles(handles: &Handles, numbers: &[u64]) -> u64 {
    let mut sum = black_box(handles) as *const Handles as u64;
    for n in numbers {
        #[cfg(feature = "measured")]
        {
            handles.counter.add(1);
            handles.updown.add(-1.5);
            handles.gauge.set(*n as f64);
            handles.distribution.record(*n as f64);
            handles.timer.record(Duration::from_nanos(*n));
            let _timing = handles.timer.start();
        }
        sum ^= black_box(*n);
    }
    sum
}

/// Of metrics whose names are known only at run time.
#[derive(Debug)]
#[allow(missing_docs, reason = "none of it is called by anybody")]
pub struct Handles {
    pub counter: zibrato::Counter,
    pub updown: zibrato::Updown,
    pub gauge: zibrato::Gauge,
    pub distribution: zibrato::Distribution,
    pub timer: zibrato::Timer,
}
