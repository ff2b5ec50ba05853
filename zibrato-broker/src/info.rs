//! What the broker tells about itself on the ask socket.

use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Map, Value, json};

use crate::shared::Shared;

/// Most (instance, level) pairs that are listed.
const LISTED: usize = 200;

/// Most senders whose refusals are listed, and most slow subscribers.
const NAMED: usize = 20;

/// A JSON object; keys may be added, never taken away.
pub(crate) fn json(shared: &Shared) -> String {
    let now = shared.clock.now();
    let counters = &shared.counters;
    let refused: Map<String, Value> =
        shared.refusals.counts().into_iter().map(|(reason, n)| (reason.into(), n.into())).collect();
    let net = &shared.net;
    let (connections, pending) = net.links.len();
    let senders: Vec<Value> = shared
        .refusals
        .worst(NAMED)
        .into_iter()
        .map(|(who, reasons)| json!({"who": who, "rejected": reasons}))
        .collect();
    let slow = shared.fanout.slowest(NAMED).into_iter().chain(shared.old_lines.slowest(NAMED));
    let slow: Vec<Value> = slow.map(|(who, missed)| json!({"who": who, "missed": missed})).collect();
    let disk = shared.disk();
    let keep = shared.keep();
    let counts = keep.counts();
    let levels: Map<String, Value> = keep
        .levels()
        .map(|(level, c)| {
            let value =
                json!({"instances": c.instances, "frames": c.frames, "bytes": c.bytes, "gaps": c.gaps});
            (level.into(), value)
        })
        .collect();
    let publishers: Vec<Value> = keep
        .newest(now, LISTED)
        .into_iter()
        .map(|l| {
            json!({
                "instance": l.instance.to_string(),
                "source": &*l.source,
                "level": &*l.level,
                "sequence": l.sequence,
                "frames": l.frames,
                "gaps": l.gaps,
                "quiet_s": seconds(l.quiet),
                "ended": l.ended,
                "silent": l.silent,
                "stored": l.stored,
            })
        })
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "boot": shared.boot.iter().map(|b| format!("{b:02x}")).collect::<String>(),
        "instance": shared.instance.to_string(),
        "uptime_s": seconds(now - shared.clock.started_at()),
        "durable": shared.durable,
        "encrypted": net.guard.is_secure(),
        "allowed_failures": counters.bad_allowed.load(Relaxed),
        "instances": keep.instances(),
        "slots": keep.slots(),
        "kept_bytes": keep.bytes(),
        "answers_broken": counters.broken.load(Relaxed),
        "state_damaged": counters.damaged.load(Relaxed) + disk.damaged,
        "state_unreadable": counters.unreadable.load(Relaxed),
        "state_failures": disk.failures,
        "state_failing": disk.is_failing,
        "state_waiting": disk.waiting,
        "legacy_overflow": counters.lines_over.load(Relaxed),
        "position": keep.position(),
        "frames_in": counters.frames_in.load(Relaxed),
        "bytes_in": counters.bytes_in.load(Relaxed),
        "frames_out": counters.frames_out.load(Relaxed),
        "frames_dropped": shared.dropped(),
        "lines_in": counters.lines_in.load(Relaxed),
        "acks": counters.acks.load(Relaxed),
        "asks": counters.asks.load(Relaxed),
        "repeats": counts.repeats,
        "late": counts.late,
        "conflicts": counts.conflicts,
        "ended": counts.ended,
        "silences": counts.silences,
        "expired": counts.expired,
        "evicted": counts.evicted,
        "rejected": refused,
        "senders": senders,
        "connections": {
            "now": connections,
            "handshakes": pending,
            "ports": net.links.by_place(),
            "accepted": net.links.counts.accepted.load(Relaxed),
            "greeted": net.links.counts.greeted.load(Relaxed),
        },
        "commands": net.links.counts.commands.load(Relaxed),
        "queued_bytes": net.pool.bytes(),
        "incoming_bytes": net.links.incoming_bytes(),
        "slow": slow,
        "levels": levels,
        "publishers": publishers,
    })
    .to_string()
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}
