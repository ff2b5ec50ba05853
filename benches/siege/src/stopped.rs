//! How long frames take from publishers to subscribers, with and without another subscriber that is stopped.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::client::{self, Messages};
use crate::server::Server;

const ENDS: u8 = 4;
/// Frames a second of each publisher, and their size: in a minute far more than may wait for one subscriber.
const RATE: u32 = 500;
const SIZE: usize = 4096;
const SETTLING: Duration = Duration::from_secs(1);
/// What is still on its way when a phase is over.
const LAST: Duration = Duration::from_millis(500);

/// A process that subscribes to everything; it ends when this is dropped.
struct Subscriber(Child);

impl Subscriber {
    fn start(port: u16) -> io::Result<Subscriber> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--broker", "-", "subscribe", &port.to_string()]);
        Ok(Subscriber(command.stdin(Stdio::null()).spawn()?))
    }

    fn signal(&self, name: &str) -> io::Result<()> {
        let done = Command::new("kill").args([name, &self.0.id().to_string()]).status()?;
        if done.success() { Ok(()) } else { Err(io::Error::other(format!("kill {name} failed"))) }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the process does: it reads.
pub(crate) fn subscribe(port: u16) -> io::Result<()> {
    let mut stream = client::connect(port + 1, "SUB", 5)?;
    client::subscribe(&mut stream, b"")?;
    stream.set_read_timeout(None)?;
    let mut buffer = vec![0; 64 << 10];
    while stream.read(&mut buffer)? > 0 {}
    Ok(())
}

pub(crate) fn run(broker: &Path, seconds: f64) -> io::Result<()> {
    let server = Server::broker(broker, &[])?;
    let other = Subscriber::start(server.port)?;
    let traffic = Traffic::start(server.port)?;
    std::thread::sleep(SETTLING);
    println!(
        "{ENDS} publishers of {RATE} frames of {SIZE} bytes a second each, {ENDS} subscribers of all of them, and another \
         one, which is stopped with STOP.\n"
    );
    println!(
        "| it | s | frames sent | missed by the {ENDS} | p50, ms | p99, ms | longest, ms | missed by it |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let phase = Duration::from_secs_f64(seconds);
    traffic.phase("reads", phase, server.port)?;
    other.signal("-STOP")?;
    traffic.phase("is stopped", phase, server.port)?;
    other.signal("-CONT")?;
    traffic.phase("reads again", phase.min(Duration::from_secs(10)), server.port)?;
    traffic.stop();
    println!();
    Ok(())
}

struct Traffic {
    over: Arc<AtomicBool>,
    /// Whether what is sent now belongs to the phase.
    is_on: Arc<AtomicBool>,
    sent: Arc<Mutex<u64>>,
    /// How long each frame took to each subscriber, in µs.
    took: Arc<Mutex<Vec<u32>>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Traffic {
    fn start(port: u16) -> io::Result<Traffic> {
        let (over, is_on) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (sent, took) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(Vec::new())));
        let mut threads = Vec::new();
        let epoch = Instant::now();
        let wire = Messages::new([0; 16], SIZE, 1).size;
        for _ in 0..ENDS {
            let mut stream = client::connect(port + 1, "SUB", 2)?;
            client::subscribe(&mut stream, b"info|")?;
            stream.set_read_timeout(Some(Duration::from_millis(100)))?;
            let (over, took) = (over.clone(), took.clone());
            threads.push(std::thread::spawn(move || {
                let (mut buffer, mut held) = (vec![0; 256 << 10], 0);
                while !over.load(Relaxed) {
                    match stream.read(&mut buffer[held..]) {
                        Ok(0) => return,
                        Ok(read) => held += read,
                        Err(_) => continue,
                    }
                    let now = epoch.elapsed().as_micros() as u64;
                    let whole = held - held % wire;
                    let at = |message: &[u8]| {
                        message[wire - 8..].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
                    };
                    let new: Vec<u32> = buffer[..whole]
                        .chunks_exact(wire)
                        .map(at)
                        .filter(|at| *at > 0)
                        .map(|at| now.saturating_sub(at) as u32)
                        .collect();
                    lock(&took).extend(new);
                    buffer.copy_within(whole..held, 0);
                    held -= whole;
                }
            }));
        }
        for end in 0..ENDS {
            let mut stream = client::connect(port, "PUSH", 2)?;
            let mut messages = Messages::new([end + 1; 16], SIZE, 1);
            let (over, is_on, sent) = (over.clone(), is_on.clone(), sent.clone());
            threads.push(std::thread::spawn(move || {
                let start = Instant::now();
                for turn in 1u32.. {
                    if over.load(Relaxed) {
                        return;
                    }
                    messages.next();
                    let counts = is_on.load(Relaxed);
                    // In a frame that counts stands when it was sent, in another 0.
                    let at = if counts { epoch.elapsed().as_micros() as u64 } else { 0 };
                    let place = messages.bytes.len() - 8;
                    messages.bytes[place..].copy_from_slice(&at.to_be_bytes());
                    if stream.write_all(&messages.bytes).is_err() {
                        return;
                    }
                    *lock(&sent) += u64::from(counts);
                    let due = start + Duration::from_secs(1) / RATE * turn;
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                }
            }));
        }
        Ok(Traffic { over, is_on, sent, took, threads })
    }

    fn phase(&self, name: &str, duration: Duration, port: u16) -> io::Result<()> {
        let before = missed(port)?;
        (*lock(&self.sent), *lock(&self.took)) = (0, Vec::new());
        self.is_on.store(true, Relaxed);
        std::thread::sleep(duration);
        self.is_on.store(false, Relaxed);
        std::thread::sleep(LAST);
        let (sent, mut took) = (*lock(&self.sent), std::mem::take(&mut *lock(&self.took)));
        let missed = missed(port)? - before;
        took.sort_unstable();
        let of = |share: f64| {
            let at = ((took.len() as f64 * share) as usize).min(took.len().saturating_sub(1));
            took.get(at).map_or(f64::NAN, |took| f64::from(*took) / 1000.0)
        };
        println!(
            "| {name} | {:.0} | {sent} | {} | {:.2} | {:.2} | {:.1} | {missed} |",
            duration.as_secs_f64(),
            (sent * u64::from(ENDS)).saturating_sub(took.len() as u64),
            of(0.5),
            of(0.99),
            of(1.0)
        );
        Ok(())
    }

    fn stop(self) {
        self.over.store(true, Relaxed);
        self.threads.into_iter().for_each(|thread| drop(thread.join()));
    }
}

fn missed(port: u16) -> io::Result<u64> {
    Ok(client::info(port)?["frames_dropped"].as_u64().unwrap_or_default())
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
