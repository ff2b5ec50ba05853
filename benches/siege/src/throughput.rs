//! How many messages pass, with four publishers and four subscribers that cost next to nothing.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::client::{self, Messages};
use crate::server::Server;

const ENDS: usize = 4;
const SIZES: [usize; 4] = [64, 1 << 10, 32 << 10, 256 << 10];
/// What may be on its way, so that nothing is dropped: the broker drops beyond 20,000 messages or 16 MiB.
const AHEAD_MESSAGES: u64 = 15_000;
const AHEAD_BYTES: u64 = 8 << 20;
/// What is written at once.
const WRITE: usize = 64 << 10;
const SETTLING: Duration = Duration::from_millis(300);

/// Messages a second, and seconds of the processor's time for each.
#[derive(Clone, Copy, Default)]
struct Turn {
    rate: f64,
    cpu: f64,
}

pub(crate) fn run(
    broker: &Path,
    python: Option<&Path>,
    seconds: f64,
    rounds: usize,
    only: Option<usize>,
) -> io::Result<()> {
    println!("### Frames through the broker and through libzmq's proxy\n");
    println!(
        "{ENDS} publishers, {ENDS} subscribers of everything, in turns of {seconds} s; medians of {rounds}. \
         CPU is the server's own, for each message in.\n"
    );
    println!(
        "| bytes a frame | broker, messages/s in | libzmq, messages/s in | ratio | broker, µs CPU | libzmq, µs CPU |"
    );
    println!("|---|---|---|---|---|---|");
    for size in SIZES.into_iter().filter(|s| only.is_none_or(|o| o == *s)) {
        let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let server = Server::broker(broker, &[])?;
            let own = turn(&server, size, Duration::from_secs_f64(seconds))?;
            drop(server);
            ours.push(own);
            if let Some(python) = python {
                let server = Server::proxy(python)?;
                let other = turn(&server, size, Duration::from_secs_f64(seconds))?;
                theirs.push(other);
                ratios.push(own.rate / other.rate);
            }
        }
        let rate = |turns: &[Turn]| median(turns.iter().map(|t| t.rate).collect());
        let cpu = |turns: &[Turn]| median(turns.iter().map(|t| t.cpu * 1e6).collect());
        println!(
            "| {size} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} |",
            rate(&ours),
            rate(&theirs),
            median(ratios),
            cpu(&ours),
            cpu(&theirs)
        );
    }
    println!();
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn turn(server: &Server, size: usize, duration: Duration) -> io::Result<Turn> {
    let over = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicU64::new(0));
    let received: Arc<[AtomicU64; ENDS]> = Arc::default();
    let wire = Messages::new([0; 16], size, 1).size;
    let mut threads = Vec::new();
    for end in 0..ENDS {
        let mut stream = client::connect(server.port + 1, "SUB", 1)?;
        client::subscribe(&mut stream, b"info|")?;
        stream.set_read_timeout(Some(Duration::from_millis(100)))?;
        let (received, over) = (received.clone(), over.clone());
        threads.push(std::thread::spawn(move || {
            let (mut buffer, mut bytes) = (vec![0; 512 << 10], 0);
            loop {
                match stream.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(read) => {
                        bytes += read;
                        received[end].store((bytes / wire) as u64, Relaxed);
                    }
                    Err(_) if over.load(Relaxed) => return,
                    Err(_) => {}
                }
            }
        }));
    }
    std::thread::sleep(SETTLING);
    let ahead = AHEAD_MESSAGES.min(AHEAD_BYTES / wire as u64).max(8);
    for end in 0..ENDS {
        let mut stream = client::connect(server.port, "PUSH", 1)?;
        let (received, over, sent) = (received.clone(), over.clone(), sent.clone());
        let count = (WRITE / wire).max(1);
        let mut messages = Messages::new([end as u8 + 1; 16], size, count);
        threads.push(std::thread::spawn(move || {
            while !over.load(Relaxed) {
                let slowest = received.iter().map(|r| r.load(Relaxed)).min().unwrap_or_default();
                if sent.load(Relaxed).saturating_sub(slowest) + count as u64 > ahead {
                    std::thread::sleep(Duration::from_micros(50));
                    continue;
                }
                sent.fetch_add(count as u64, Relaxed);
                if stream.write_all(messages.next()).is_err() {
                    return;
                }
            }
        }));
    }
    let slowest = || received.iter().map(|r| r.load(Relaxed)).min().unwrap_or_default();
    std::thread::sleep(SETTLING);
    let (start, before, cpu) = (Instant::now(), slowest(), server.cpu());
    std::thread::sleep(duration);
    let (passed, elapsed, cpu) = ((slowest() - before) as f64, start.elapsed(), server.cpu() - cpu);
    over.store(true, Relaxed);
    threads.into_iter().for_each(|thread| drop(thread.join()));
    Ok(Turn { rate: passed / elapsed.as_secs_f64(), cpu: cpu / passed.max(1.0) })
}
