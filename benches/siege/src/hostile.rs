//! Good traffic at a steady rate, and what attacks do to it.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::attacks::ATTACKS;
use crate::client::{self, Messages};
use crate::server::Server;

/// Good frames a second, and their size.
const RATE: u64 = 5_000;
const SIZE: usize = 1024;
/// What keeps the good ones apart from the bad ones: their addresses.
const GOOD: u8 = 2;
/// Small limits, so that they are reached soon.
const LIMITS: [&str; 8] =
    ["--max-bytes", "64M", "--max-incoming", "64M", "--max-outgoing", "64M", "--max-instances", "20000"];
/// Most memory that the broker may then have: twice what it keeps, for what holds it together; what comes and one and a
/// half times what goes; what 10,000 connections with their buffers cost; and what old lines leave.
const MEMORY: u64 = (400 + 128) << 20;

struct Good {
    over: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    received: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Good {
    fn start(port: u16) -> io::Result<Good> {
        let over = Arc::new(AtomicBool::new(false));
        let (sent, received) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut sub = client::connect(port + 1, "SUB", GOOD)?;
        client::subscribe(&mut sub, b"good|")?;
        sub.set_read_timeout(Some(Duration::from_millis(100)))?;
        let mut push = client::connect(port, "PUSH", GOOD)?;
        let mut messages = Messages::new([200; 16], SIZE, (RATE / 100) as usize);
        // A level that no attack uses; as long as the one that is replaced.
        for message in messages.bytes.chunks_exact_mut(messages.size) {
            message[2..7].copy_from_slice(b"good|");
        }
        let wire = messages.size;
        let (over_sub, count) = (over.clone(), received.clone());
        let reading = std::thread::spawn(move || {
            let (mut buffer, mut bytes) = (vec![0; 256 << 10], 0);
            while !over_sub.load(Relaxed) {
                match sub.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(read) => bytes += read,
                    Err(_) => {}
                }
                count.store((bytes / wire) as u64, Relaxed);
            }
        });
        let (over_push, count) = (over.clone(), sent.clone());
        let writing = std::thread::spawn(move || {
            let start = Instant::now();
            for turn in 1u32.. {
                if over_push.load(Relaxed) || push.write_all(messages.next()).is_err() {
                    return;
                }
                count.fetch_add(RATE / 100, Relaxed);
                let due = start + Duration::from_millis(10) * turn;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        });
        Ok(Good { over, sent, received, threads: vec![reading, writing] })
    }

    fn stop(self) {
        self.over.store(true, Relaxed);
        self.threads.into_iter().for_each(|thread| drop(thread.join()));
    }
}

pub(crate) fn run(broker: &Path, seconds: f64, only: Option<&str>, check: bool) -> io::Result<()> {
    println!(
        "{RATE} good frames of {SIZE} bytes a second from one address, each attack for {seconds} s from another; \
         `{}`, all else as by default.\n",
        LIMITS.join(" ")
    );
    println!(
        "| attack | good frames passed | memory before, MiB | at most, MiB | counters in `zibrato info` |"
    );
    println!("|---|---|---|---|---|");
    let mut faults = Vec::new();
    for (name, attack, told_by) in ATTACKS.iter().filter(|(name, ..)| only.is_none_or(|o| name.contains(o))) {
        let mut server = Server::broker(broker, &LIMITS)?;
        let good = Good::start(server.port)?;
        std::thread::sleep(Duration::from_secs(1));
        let before = client::info(server.port)?;
        let (memory, _) = server.memory();
        server.forget_peak();
        let (sent, received) = (good.sent.load(Relaxed), good.received.load(Relaxed));
        let over = Arc::new(AtomicBool::new(false));
        let attackers: Vec<_> = (0..2)
            .map(|number| {
                let (over, port, attack) = (over.clone(), server.port, *attack);
                std::thread::spawn(move || attack(port, number, &over))
            })
            .collect();
        std::thread::sleep(Duration::from_secs_f64(seconds));
        let (sent, received) = (good.sent.load(Relaxed) - sent, good.received.load(Relaxed) - received);
        let (_, peak) = server.memory();
        let after = client::info(server.port);
        over.store(true, Relaxed);
        attackers.into_iter().for_each(|attacker| drop(attacker.join()));
        let lives = server.lives();
        good.stop();
        let counters =
            after.map_or_else(|error| format!("not told: {error}"), |after| counters(&before, &after));
        println!(
            "| {name} | {:.1} %{} | {:.0} | {:.0} | {} |",
            100.0 * received as f64 / sent.max(1) as f64,
            if lives { "" } else { ", **the broker ended**" },
            memory as f64 / 1048576.0,
            peak as f64 / 1048576.0,
            counters
        );
        for (is_wrong, fault) in [
            (!lives, "the broker ended".to_string()),
            (peak > MEMORY, format!("it had {} MiB", peak >> 20)),
            (!counters.contains(told_by), format!("no counter {told_by}")),
            // How many is for people to judge: it depends on what else the machine does.
            (received == 0, "no good frame passed".to_string()),
        ] {
            if is_wrong {
                faults.push(format!("{name}: {fault}"));
            }
        }
    }
    if check && !faults.is_empty() {
        return Err(io::Error::other(faults.join("; ")));
    }
    Ok(())
}

/// What has been counted between two looks, besides good traffic.
fn counters(before: &Value, after: &Value) -> String {
    let mut found = Vec::new();
    if let Some(rejected) = after["rejected"].as_object() {
        for (reason, count) in rejected {
            let more =
                count.as_u64().unwrap_or_default() - before["rejected"][reason].as_u64().unwrap_or_default();
            if more > 0 {
                found.push(format!("rejected.{reason} {more}"));
            }
        }
    }
    for name in [
        "frames_dropped",
        "asks",
        "evicted",
        "conflicts",
        "repeats",
        "instances",
        "lines_in",
        "legacy_overflow",
    ] {
        let more = after[name].as_i64().unwrap_or_default() - before[name].as_i64().unwrap_or_default();
        if more > 0 {
            found.push(format!("{name} {more}"));
        }
    }
    let level = |told: &Value| told["levels"]["info"]["frames"].as_u64().unwrap_or_default();
    if level(after) > level(before) {
        found.push(format!("level.info {}", level(after) - level(before)));
    }
    let mut accepted = after["connections"]["accepted"].as_u64().unwrap_or_default();
    accepted -= before["connections"]["accepted"].as_u64().unwrap_or_default();
    if accepted > 1 {
        found.push(format!("connections.accepted {accepted}"));
    }
    let commands =
        after["commands"].as_u64().unwrap_or_default() - before["commands"].as_u64().unwrap_or_default();
    if commands > 0 {
        found.push(format!("commands {commands}"));
    }
    found.join(", ")
}
