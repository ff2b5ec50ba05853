//! What happens by the clock: the beat, silence and the horizon, the broker's own metrics.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use omq_tokio::Message;
use tokio::time::MissedTickBehavior;
use zibrato_core::level;

use crate::own::Own;
use crate::shared::Shared;
use crate::stop::Stop;

const BEAT: Duration = Duration::from_millis(500);
/// Beats between two rounds of everything else.
const ROUND: u64 = 2;
/// Rounds between two clearings of tombstones on the disk.
const CLEARING: u64 = 3600;

pub(crate) async fn run(shared: Arc<Shared>, horizon: u64, mut stop: Stop) {
    let mut own = Own::default();
    let mut ticks = tokio::time::interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for beat in 0u64.. {
        tokio::select! {
            biased;
            () = stop.stopped() => break,
            _ = ticks.tick() => {}
        }
        shared.publish(beat_message(&shared)).await;
        if beat % ROUND == 0 {
            let now = shared.clock.now();
            let effects = shared.keep().tick(now);
            shared.write(effects);
            for frame in own.set(&shared, false) {
                shared.emit(level::OWN, frame).await;
            }
            if beat % (ROUND * CLEARING) == 0 {
                shared.clear_tombstones(now.saturating_sub(horizon));
            }
        }
    }
    for frame in own.set(&shared, true) {
        shared.emit(level::OWN, frame).await;
    }
}

/// The sign of life: `beat|` and a MessagePack array of version, boot id and time.
fn beat_message(shared: &Shared) -> Message {
    let mut body = Vec::with_capacity(32);
    // Writing into a `Vec` cannot fail.
    let _ = rmp::encode::write_array_len(&mut body, 3);
    let _ = rmp::encode::write_uint(&mut body, 1);
    let _ = rmp::encode::write_bin(&mut body, &shared.boot);
    let _ = rmp::encode::write_uint(&mut body, shared.clock.now());
    Message::multipart([Bytes::from(level::topic(level::BEAT)), Bytes::from(body)])
}
