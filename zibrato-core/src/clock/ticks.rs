use std::cell::Cell;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use once_cell::race::OnceBox;

use super::calibration::{Calibration, Rate, Verdict};
use super::{fake, system_nanos};
use crate::cell::counter;
use crate::histogram::Lattice;

/// Why a tick has to be asked for the long way; 0 where it has not.
static LONG_WAY: AtomicUsize = AtomicUsize::new(NO_COUNTER);
/// The counter was not looked at yet, or cannot be used.
const NO_COUNTER: usize = 1;
/// Fakes that are in force on any thread, each.
const FAKE: usize = 2;
/// The counter was found not to keep time with the system's clock.
static GIVEN_UP: AtomicBool = AtomicBool::new(false);
static ORIGIN: OnceBox<Origin> = OnceBox::new();

/// For how long the two clocks are compared before the first tick is given. It decides only where the edges of
/// the histogram's buckets lie in ticks: 100 microseconds give them to a few hundredths of a percent.
const FIRST_COMPARISON: Duration = Duration::from_micros(100);

thread_local! {
    /// This thread is comparing the clocks for the first time.
    static FINDING: Cell<bool> = const { Cell::new(false) };
}

/// What was found when the first tick was asked for.
#[derive(Debug)]
struct Origin {
    counter: bool,
    ticks: u64,
    nanos: u64,
    /// The first rate, which the fall-back keeps: ticks mean the same whoever gives them.
    nominal: Rate,
    lattice: Lattice,
    /// What an ordered pair of readings finds where there is nothing between, in ticks.
    overhead: u64,
}

/// Where ticks come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The processor's counter.
    Counter,
    /// The system's monotonic clock, in nanoseconds.
    System,
}

/// Where ticks come from in this process.
///
/// The counter is used on x86-64 where the processor calls it invariant and, on Linux, where the kernel has chosen
/// it as its own clock source; other processors always use the system's clock, and so does a program that runs with
/// `ZIBRATO_CLOCK=system` in its environment. A counter that turns out not to keep time is given up for good.
pub fn source() -> Source {
    if origin().counter && !GIVEN_UP.load(Relaxed) { Source::Counter } else { Source::System }
}

/// Whether ticks have to be asked for the long way.
#[inline(always)]
pub(crate) fn is_long_way() -> bool {
    LONG_WAY.load(Relaxed) != 0
}

/// The time now, in ticks. Only differences mean something, and what is not the counter's is marked in its highest
/// bit.
///
/// The processor may read its counter up to some 25 ns early or late, see [`start_ordered`].
#[inline(always)]
pub fn start() -> u64 {
    if is_long_way() { start_the_long_way(counter::read) } else { counter::read() }
}

/// The time now, in ticks, when everything before it is done: for sections so short that it matters.
#[inline(always)]
pub fn start_ordered() -> u64 {
    if is_long_way() { start_the_long_way(counter::read_first) } else { counter::read_first() }
}

/// A mark on starts that are not the counter's. No counter and no clock comes so far, and the difference to a
/// marked start is not plausible.
const MARK: u64 = 1 << 63;

#[cold]
#[inline(never)]
pub(crate) fn start_the_long_way(read: fn() -> u64) -> u64 {
    if let Some(now) = fake::now() {
        return now | MARK;
    }
    if FINDING.get() {
        // Asked for by an allocator that is itself measured, while the clocks are being compared.
        return 0;
    }
    let origin = origin();
    if origin.counter && !GIVEN_UP.load(Relaxed) { read() } else { origin.system_ticks() | MARK }
}

/// What has passed since a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elapsed {
    Ticks(u64),
    /// A fake counts in nanoseconds.
    Nanos(u64),
}

/// The ticks that have passed since a [`start`], at least one. `None` where the clock has gone back, or was not the
/// counter.
#[inline(always)]
pub(crate) fn elapsed_usually(start: u64) -> Option<NonZeroU64> {
    counter::plausible(counter::read().wrapping_sub(start))
}

/// The ticks that have passed since a [`start_ordered`], without what the two readings themselves take.
#[inline(always)]
pub(crate) fn elapsed_ordered_usually(start: u64) -> Option<NonZeroU64> {
    // Only who has started by the counter knows that the processor has the instruction that reads it in order.
    if start & MARK != 0 {
        return None;
    }
    let overhead = ORIGIN.get().map_or(0, |origin| origin.overhead);
    let ticks = counter::read_last().wrapping_sub(start);
    // Of a section that took less there is nothing left, but it was there.
    counter::plausible(if ticks <= overhead { 1 } else { ticks - overhead })
}

/// What has passed since a [`start`] where [`elapsed_usually`] does not say; nothing where the clock has gone back.
#[cold]
pub(crate) fn elapsed_the_long_way(start: u64) -> Elapsed {
    if start & MARK == 0 {
        return Elapsed::Ticks(0);
    }
    let start = start & !MARK;
    match fake::now() {
        Some(now) => Elapsed::Nanos(now.saturating_sub(start)),
        None => Elapsed::Ticks(origin().system_ticks().saturating_sub(start)),
    }
}

/// What has passed since a [`start`].
#[inline(always)]
pub(crate) fn elapsed(start: u64) -> Elapsed {
    elapsed_usually(start).map_or_else(|| elapsed_the_long_way(start), |ticks| Elapsed::Ticks(ticks.get()))
}

/// Where the histogram's buckets begin in ticks.
pub(crate) fn lattice() -> &'static Lattice {
    &origin().lattice
}

/// The rate found at first, which never changes.
pub(crate) fn nominal() -> Rate {
    // Where no tick was ever asked for there are none to convert.
    ORIGIN.get().map_or(Rate::NANOS, |origin| origin.nominal)
}

/// Compares the clocks once more, for a reader of totals. Gives the counter up where it does not keep time; call
/// sites then have to be told, see [`is_long_way`].
pub(crate) fn observe(calibration: &mut Option<Calibration>) -> Rate {
    let Some(origin) = ORIGIN.get() else { return Rate::NANOS };
    if !origin.counter || GIVEN_UP.load(Relaxed) {
        return origin.nominal;
    }
    let (ticks, nanos) = pair();
    let calibration =
        calibration.get_or_insert_with(|| Calibration::new(origin.nominal, origin.ticks, origin.nanos));
    if calibration.observe(ticks, nanos) == Verdict::GivenUp {
        GIVEN_UP.store(true, Relaxed);
        LONG_WAY.fetch_or(NO_COUNTER, Relaxed);
    }
    calibration.rate()
}

/// Notes that a fake is in force from now on.
pub(super) fn begin_fake() {
    LONG_WAY.fetch_add(FAKE, Relaxed);
}

/// Notes that a fake is in force no more.
pub(super) fn end_fake() {
    LONG_WAY.fetch_sub(FAKE, Relaxed);
}

/// Whether a fake is in force on any thread.
#[inline]
pub(super) fn has_fakes() -> bool {
    LONG_WAY.load(Relaxed) >= FAKE
}

fn origin() -> &'static Origin {
    ORIGIN.get().unwrap_or_else(find_origin)
}

#[cold]
#[inline(never)]
fn find_origin() -> &'static Origin {
    FINDING.set(true);
    let origin = ORIGIN.get_or_init(|| Box::new(Origin::find()));
    FINDING.set(false);
    if origin.counter && !GIVEN_UP.load(Relaxed) {
        LONG_WAY.fetch_and(!NO_COUNTER, Relaxed);
    }
    origin
}

impl Origin {
    fn find() -> Self {
        let (ticks, nanos) = pair();
        let usable = counter::is_invariant() && kernel_trusts_it() && !is_forbidden();
        let rate = usable.then(|| first_rate(ticks, nanos)).flatten();
        let nominal = rate.unwrap_or(Rate::NANOS);
        Origin {
            counter: rate.is_some(),
            ticks: if rate.is_some() { ticks } else { nanos },
            nanos,
            nominal,
            lattice: Lattice::new(nominal.nanos_per_tick()),
            overhead: if rate.is_some() { overhead() } else { 0 },
        }
    }

    /// The system's clock, in ticks.
    fn system_ticks(&self) -> u64 {
        let passed = system_nanos().saturating_sub(self.nanos);
        self.ticks.wrapping_add(self.nominal.ticks(passed))
    }
}

/// Both clocks at one moment: of a few tries the one in which least time passed between them.
fn pair() -> (u64, u64) {
    let tries = std::array::from_fn::<_, 4, _>(|_| {
        let before = counter::read();
        let nanos = system_nanos();
        let after = counter::read();
        (after.wrapping_sub(before), before.wrapping_add(after.wrapping_sub(before) / 2), nanos)
    });
    let (_, ticks, nanos) = tries.into_iter().min().unwrap_or_default();
    (ticks, nanos)
}

fn first_rate(ticks: u64, nanos: u64) -> Option<Rate> {
    let start = Instant::now();
    while start.elapsed() < FIRST_COMPARISON {
        std::hint::spin_loop();
    }
    let (ticks_now, nanos_now) = pair();
    Rate::of(ticks_now.checked_sub(ticks)?, nanos_now.checked_sub(nanos)?)
}

fn overhead() -> u64 {
    let one = || {
        let start = counter::read_first();
        counter::read_last().saturating_sub(start)
    };
    (0..64).map(|_| one()).min().unwrap_or(0)
}

/// Whoever runs the program knows of a counter that even the kernel trusts too much.
fn is_forbidden() -> bool {
    std::env::var_os("ZIBRATO_CLOCK").is_some_and(|clock| clock == "system")
}

/// The kernel watches the counter for its own sake; where it has chosen another clock it knows why.
#[cfg(target_os = "linux")]
fn kernel_trusts_it() -> bool {
    const CHOSEN: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    std::fs::read_to_string(CHOSEN).is_ok_and(|name| name.trim() == "tsc")
}

/// Other systems do not say; their own clocks stand on an invariant counter too.
#[cfg(not(target_os = "linux"))]
fn kernel_trusts_it() -> bool {
    true
}
