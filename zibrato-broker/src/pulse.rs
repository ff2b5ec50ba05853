//! What happens by the clock: the beat, silence and the horizon, the broker's own metrics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use zibrato_core::level;

use crate::intake::own_run;
use crate::net::Run;
use crate::own::Own;
use crate::shared::Shared;
use crate::stop::Stop;

const BEAT: Duration = Duration::from_millis(500);
/// After so long without a beat the broker is stuck.
const STUCK: Duration = Duration::from_secs(20);
/// Beats between two rounds of everything else.
const ROUND: u64 = 2;
/// Rounds between two clearings of what is too old on the disk.
const CLEARING: u64 = 3600;

pub(crate) async fn run(shared: Arc<Shared>, horizon: u64, mut stop: Stop) {
    let mut own = Own::default();
    let mut evictions = Evictions::default();
    let mut ticks = tokio::time::interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let turns = shared.liveness.regular("the broker's clock", STUCK);
    for number in 0u64.. {
        turns.turned();
        tokio::select! {
            biased;
            () = stop.stopped() => break,
            _ = ticks.tick() => {}
        }
        shared.net.links.sweep();
        shared.net.guard.sweep(shared.clock.now());
        shared.look_at_allowed();
        shared.publish(&[beat(&shared)]);
        if number % ROUND == 0 {
            let now = shared.clock.now();
            let room = shared.room();
            let (effects, counts, shed) = {
                let mut keep = shared.keep();
                (keep.tick(now, room), keep.counts(), keep.take_shed())
            };
            for (sender, pairs) in shed {
                shared.refusals.count_many(
                    "keep",
                    "evicted",
                    &sender,
                    pairs,
                    "state forgotten for want of room",
                );
            }
            shared.write(effects);
            evictions.say(counts.evicted);
            for frame in own.set(&shared, false) {
                shared.emit(level::OWN, frame);
            }
            tell(&shared, false);
            if number % (ROUND * CLEARING) == 0 {
                shared.clear_old(now.saturating_sub(horizon));
            }
        }
    }
    for frame in own.set(&shared, true) {
        shared.emit(level::OWN, frame);
    }
    tell(&shared, true);
}

/// Sends what is told of marked rows.
fn tell(shared: &Shared, last: bool) {
    let now = shared.clock.now();
    let set = shared.journal().set(now, last);
    for frame in set.iter().flat_map(|set| set.frames(now)) {
        shared.emit(level::TRACE, frame);
    }
}

/// Says at most once a minute that something had to be forgotten for want of room.
#[derive(Default)]
struct Evictions {
    said: u64,
    at: Option<Instant>,
}

impl Evictions {
    fn say(&mut self, evicted: u64) {
        if evicted > self.said && self.at.is_none_or(|at| at.elapsed() >= Duration::from_secs(60)) {
            tracing::warn!(
                since = evicted - self.said,
                total = evicted,
                "forgot state before its time, for want of room; --max-bytes and --max-slots give more"
            );
            (self.said, self.at) = (evicted, Some(Instant::now()));
        }
    }
}

/// The sign of life: `beat|` and a MessagePack array of version, boot id and time.
fn beat(shared: &Shared) -> Run {
    let mut body = Vec::with_capacity(32);
    // Writing into a `Vec` cannot fail.
    let _ = rmp::encode::write_array_len(&mut body, 3);
    let _ = rmp::encode::write_uint(&mut body, 1);
    let _ = rmp::encode::write_bin(&mut body, &shared.boot);
    let _ = rmp::encode::write_uint(&mut body, shared.clock.now());
    own_run(level::BEAT, &body)
}
