//! The clock: how the processor's counter is followed, and what a clock that misbehaves does to durations.

use std::time::Duration;

use proptest::prelude::*;
use zibrato_core::cell::SpreadSlot;
use zibrato_core::clock::{self, Calibration, Fake, Rate, Verdict};
use zibrato_core::frame::{Kind, Spread, State};
use zibrato_core::registry::{self, Site};

const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = SECOND / 1000;

/// 2.1 GHz.
fn rate() -> Rate {
    Rate::of(21, 10).expect("both are more than 0")
}

/// Ticks of a counter that runs at `ghz`, in so many nanoseconds.
fn ticks(nanos: u64, ghz: f64) -> u64 {
    (nanos as f64 * ghz) as u64
}

#[test]
fn drift_is_followed() {
    let mut calibration = Calibration::new(rate(), 0, 0);
    let (mut now, mut counter) = (0, 0);
    for second in 0..600 {
        // The crystal warms up by 40 parts in a million, and its clock is disciplined by as much.
        let ghz = 2.1 * (1.0 + 40e-6 * f64::from(second) / 600.0);
        now += SECOND;
        counter += ticks(SECOND, ghz);
        assert_eq!(calibration.observe(counter, now), Verdict::Adjusted);
        let measured = calibration.rate().nanos(ticks(SECOND, ghz));
        assert!(measured.abs_diff(SECOND) < 10, "a second is measured as {measured} ns");
    }
}

#[test]
fn a_machine_that_was_suspended_does_not_change_the_rate() {
    // The counter goes on while the clock stands, or is reset, or the clock goes on while the counter stands.
    for (counter_after, clock_after) in
        [(ticks(3600 * SECOND, 2.1), SECOND), (5, SECOND), (10, 3600 * SECOND)]
    {
        let mut calibration = Calibration::new(rate(), 0, 0);
        assert_eq!(calibration.observe(ticks(SECOND, 2.1), SECOND), Verdict::Adjusted);
        let before = calibration.rate();
        let counter = if counter_after == 5 { 5 } else { ticks(SECOND, 2.1) + counter_after };
        assert_eq!(calibration.observe(counter, SECOND + clock_after), Verdict::Skipped);
        assert_eq!(calibration.rate(), before);
        let (counter, clock) = (counter + ticks(SECOND, 2.1), 2 * SECOND + clock_after);
        assert_eq!(calibration.observe(counter, clock), Verdict::Adjusted);
        let second = calibration.rate().nanos(ticks(SECOND, 2.1));
        assert!(second.abs_diff(SECOND) < 10, "a second is measured as {second} ns");
    }
}

#[test]
fn a_counter_that_does_not_keep_time_is_given_up() {
    let mut calibration = Calibration::new(rate(), 0, 0);
    // From now on it runs at half the speed, as on another machine without scaling.
    let verdicts: Vec<Verdict> =
        (1..10).map(|n| calibration.observe(ticks(n * SECOND, 1.05), n * SECOND)).collect();
    assert_eq!(verdicts[..4], [Verdict::Skipped; 4]);
    assert_eq!(verdicts[4], Verdict::GivenUp);
}

#[test]
fn comparisons_in_quick_succession_change_nothing() {
    let mut calibration = Calibration::new(rate(), 0, 0);
    for n in 1..100 {
        // A reading that was interrupted for half of the time.
        assert_eq!(calibration.observe(ticks(n * MILLISECOND, 1.05), n * MILLISECOND), Verdict::TooSoon);
    }
    assert_eq!(calibration.rate(), rate());
}

proptest! {
    #[test]
    fn ticks_convert_there_and_back(nanos in 0..1u64 << 55, ghz in 1.0..6.0) {
        let rate = Rate::of(ticks(1 << 40, ghz), 1 << 40).unwrap();
        let back = rate.nanos_up(rate.ticks(nanos));
        prop_assert!(back <= nanos + 1 && nanos <= back + 1, "{nanos} came back as {back}");
    }

    #[test]
    fn whatever_the_clocks_do_the_rate_stays_near_the_truth(
        steps in proptest::collection::vec((0..4 * SECOND, -10_000_000i64..10_000_000, 0..20u8), 1..200)
    ) {
        let mut calibration = Calibration::new(rate(), 0, 0);
        let (mut counter, mut now) = (1u64 << 40, 1u64 << 40);
        for (step, jump, what) in steps {
            now += step;
            counter += ticks(step, 2.1);
            match what {
                0 => counter = counter.saturating_add_signed(jump * 1000),
                1 => now = now.saturating_add_signed(jump * 1000),
                _ => {}
            }
            calibration.observe(counter, now);
            let second = calibration.rate().nanos(ticks(SECOND, 2.1));
            prop_assert!(second.abs_diff(SECOND) < SECOND / 100, "a second is measured as {second} ns");
        }
    }
}

macro_rules! timer {
    ($name:literal) => {{
        static SITE: Site = Site::new(Kind::Timer, "info", $name, None, &[]);
        thread_local!(static SLOT: SpreadSlot = const { SpreadSlot::new(&SITE) });
        (&SITE, &SLOT)
    }};
}

fn spread(name: &str) -> Spread {
    let reading = registry::read_own_thread().into_iter().find(|r| &*r.id.name == name);
    let reading = reading.expect("it was measured");
    match reading.state {
        State::Spread(spread) => spread,
        other => panic!("{name} is no spread: {other:?}"),
    }
}

#[test]
fn a_fake_is_exact() {
    let (site, slot) = timer!("fake");
    let clock = Fake::at(1_700_000_000 * SECOND);
    let _entered = clock.enter();
    for nanos in [1, 17, 1_000_000_007] {
        let start = site.start();
        clock.advance(Duration::from_nanos(nanos));
        Site::stop(slot, start);
    }
    let spread = spread("fake");
    assert_eq!((spread.histogram.count(), spread.sum.whole), (3, 1_000_000_025));
}

#[test]
fn a_clock_that_goes_back_takes_no_time() {
    let (site, slot) = timer!("back");
    let clock = Fake::at(1_700_000_000 * SECOND);
    let _entered = clock.enter();
    let start = site.start();
    clock.rewind(Duration::from_secs(3600));
    Site::stop(slot, start);
    let spread = spread("back");
    assert_eq!((spread.histogram.count(), spread.sum.whole), (1, 0));
    assert!(spread.span.is_some_and(|span| span.min == 0.0 && span.max == 0.0));
}

#[test]
fn a_counter_that_goes_back_takes_as_good_as_no_time() {
    let (site, slot) = timer!("counter back");
    let start = site.start();
    // As on a core whose counter is an hour behind.
    Site::stop(slot, start.wrapping_add(3600 * 2_000_000_000));
    Site::stop(slot, start);
    let spread = spread("counter back");
    assert_eq!(spread.histogram.count(), 2);
    assert!(spread.sum.whole < 60 * SECOND as i64, "{:?}", spread.sum);
}

#[test]
fn what_a_fake_does_on_one_thread_does_not_concern_another() {
    let (site, slot) = timer!("beside a fake");
    let clock = Fake::at(5);
    let _entered = clock.enter();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let start = site.start();
            std::thread::sleep(Duration::from_millis(2));
            Site::stop(slot, start);
            let spread = spread("beside a fake");
            assert_eq!(spread.histogram.count(), 1);
            assert!((MILLISECOND..60 * SECOND).contains(&(spread.sum.whole as u64)), "{:?}", spread.sum);
        });
    });
}

/// A section that takes a known time by the system's clock.
fn spin(at_least: Duration) -> Duration {
    let start = std::time::Instant::now();
    while start.elapsed() < at_least {
        std::hint::spin_loop();
    }
    start.elapsed()
}

#[test]
fn it_agrees_with_the_clock_of_the_system() {
    let (site, slot) = timer!("agrees");
    let (ordered, ordered_slot) = timer!("agrees ordered");
    let mut least = Duration::ZERO;
    for _ in 0..20 {
        let start = site.start();
        let start_ordered = ordered.start_ordered();
        least += spin(Duration::from_millis(2));
        Site::stop_ordered(ordered_slot, start_ordered);
        Site::stop(slot, start);
    }
    for name in ["agrees", "agrees ordered"] {
        let spread = spread(name);
        let (measured, least) = (spread.sum.whole as f64, least.as_nanos() as f64);
        assert_eq!(spread.histogram.count(), 20);
        // Being interrupted between the two makes it longer, so there is no upper bound to speak of.
        assert!(
            measured > least * 0.998 && measured < least * 10.0,
            "{name}: {measured} ns, at least {least}"
        );
    }
    assert!(clock::start() > 0);
}

/// The tests of this file once more, in a process that may not use the counter.
#[test]
fn all_of_it_holds_without_the_counter() {
    if std::env::var_os("ZIBRATO_CLOCK").is_some() {
        assert_eq!(clock::source(), clock::Source::System);
        return;
    }
    let tests = std::env::current_exe().unwrap();
    let run = std::process::Command::new(tests).env("ZIBRATO_CLOCK", "system").output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
}
