//! The sockets of the legacy gateway.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use omq_tokio::{Error, Message, Socket, TrySendError};
use tokio::time::{Duration, MissedTickBehavior};

use crate::legacy::{Gateway, parse};
use crate::shared::{Shared, add};
use crate::stop::Stop;

const BATCH: usize = 256;
/// Most lines that are still taken when the broker stops.
const LEFT: usize = 100_000;
const INTERVAL: Duration = Duration::from_secs(1);

/// Passes old lines on unchanged and turns them into frames, until `stop`; then ends the gateway's instance.
pub(crate) async fn run(shared: Arc<Shared>, subscribe: Socket, publish: Socket, mut stop: Stop) {
    let mut gateway = Gateway::new(zibrato_core::frame::InstanceId::random(), shared.source.clone());
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            biased;
            () = stop.stopped() => break,
            _ = ticks.tick() => emit(&shared, &mut gateway, false).await,
            received = subscribe.recv_many_into(BATCH, &mut batch) => match received {
                Ok(_) => {}
                Err(Error::Closed) => break,
                Err(error) => shared.refusals.count("legacy", "receive", error),
            },
        }
        for message in batch.drain(..) {
            take(&shared, &mut gateway, &message);
            pass_on(&shared, &publish, message).await;
        }
        if gateway.is_pressed() {
            emit(&shared, &mut gateway, false).await;
        }
        tokio::task::yield_now().await;
    }
    // What has arrived already still counts, but not what keeps coming.
    for message in std::iter::from_fn(|| subscribe.try_recv().ok()).take(LEFT) {
        take(&shared, &mut gateway, &message);
        pass_on(&shared, &publish, message).await;
    }
    let _ = subscribe.close().await;
    emit(&shared, &mut gateway, true).await;
    let _ = publish.close().await;
}

fn take(shared: &Shared, gateway: &mut Gateway, message: &Message) {
    add(&shared.counters.lines_in, 1);
    let (Some(line), 1) = (message.part_slice(0), message.len()) else {
        return shared.refusals.count("legacy", "parts", "a line of the old protocol has one part");
    };
    let taken = parse(line).and_then(|line| gateway.take(&line, shared.clock.now()));
    if let Err(why) = taken {
        let start = &line[..line.len().min(100)];
        shared.refusals.count(
            "legacy",
            why.reason(),
            format_args!("{why}: {:?}", start.escape_ascii().to_string()),
        );
    }
}

async fn emit(shared: &Shared, gateway: &mut Gateway, last: bool) {
    shared.counters.lines_over.store(gateway.over(), Relaxed);
    for (level, frames) in gateway.sets(shared.clock.now(), last) {
        for frame in frames {
            shared.emit(&level, frame).await;
        }
    }
}

async fn pass_on(shared: &Shared, publish: &Socket, mut message: Message) {
    loop {
        message = match publish.try_send(message) {
            Ok(()) => return,
            Err(TrySendError::Full(message)) => message,
            Err(_) => return add(&shared.counters.dropped, 1),
        };
        if tokio::time::timeout(INTERVAL, publish.wait_send_ready()).await.is_err() {
            return add(&shared.counters.dropped, 1);
        }
    }
}
