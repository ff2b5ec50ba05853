//! Measures how many small frames a second pass through a broker in this process, and what it costs.
//!
//! `cargo run --release -p zibrato-broker --example throughput -- [PUBLISHERS] [SUBSCRIBERS] [BYTES]`
//!
//! The clients write and read prepared bytes on plain TCP, so that most of the time is the broker's.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use zibrato_broker::{Broker, Config};
use zibrato_core::frame::{Flags, Head, InstanceId, encode_head};

const FRAMES: u64 = 300_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<usize>());
    let publishers = arguments.next().transpose()?.unwrap_or(1);
    let subscribers = arguments.next().transpose()?.unwrap_or(1);
    let bytes = arguments.next().transpose()?.unwrap_or(64);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let broker = runtime.block_on(Broker::bind(Config {
        port: 0,
        head_start: Duration::ZERO,
        ..Config::default()
    }))?;
    let addresses = broker.addresses().clone();
    runtime.spawn(broker.run(std::future::pending()));

    let streams: Vec<Vec<u8>> = (0..publishers).map(|p| messages(p as u8, bytes)).collect();
    let message = streams[0].len() / FRAMES as usize;
    let readers: Vec<_> = (0..subscribers)
        .map(|_| {
            let mut stream = connect(&addresses.publish, "SUB")?;
            stream.write_all(&[0, 6, 1, b'i', b'n', b'f', b'o', b'|'])?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            Ok(std::thread::spawn(move || read_all(stream)))
        })
        .collect::<std::io::Result<_>>()?;
    std::thread::sleep(Duration::from_millis(300));
    let before = cpu();
    let start = Instant::now();
    let writers: Vec<_> = streams
        .into_iter()
        .map(|bytes| {
            let mut stream = connect(&addresses.push, "PUSH")?;
            Ok(std::thread::spawn(move || {
                let written = stream.write_all(&bytes);
                // The connection stays until the broker has read everything.
                std::thread::sleep(Duration::from_secs(2));
                written
            }))
        })
        .collect::<std::io::Result<_>>()?;
    let mut seconds: f64 = 0.0;
    let mut received = 0;
    for reader in readers {
        if let Ok((bytes, last)) = reader.join() {
            received += bytes / message as u64;
            seconds = seconds.max((last - start).as_secs_f64());
        }
    }
    for writer in writers {
        let _ = writer.join();
    }
    let sent = FRAMES * publishers as u64;
    let expected = sent * subscribers as u64;
    println!(
        "{publishers} publishers, {subscribers} subscribers, {message} bytes a message: {:.0} messages/s in, \
         {:.1} % of {expected} arrived, {:.2} µs CPU each (clients included)",
        sent as f64 / seconds,
        received as f64 / expected as f64 * 100.0,
        (cpu() - before) * 1e6 / sent as f64
    );
    std::process::exit(0);
}

/// Connects and gets the handshake over with.
fn connect(address: &str, kind: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address.trim_start_matches("tcp://"))?;
    let mut hello = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0];
    hello.extend(b"NULL");
    hello.resize(64, 0);
    let mut body = b"\x05READY\x0bSocket-Type".to_vec();
    body.extend((kind.len() as u32).to_be_bytes());
    body.extend(kind.as_bytes());
    hello.extend([4, body.len() as u8]);
    hello.extend(body);
    stream.write_all(&hello)?;
    stream.read_exact(&mut [0; 64])?;
    let mut header = [0; 2];
    stream.read_exact(&mut header)?;
    stream.read_exact(&mut vec![0; usize::from(header[1])])?;
    Ok(stream)
}

/// Everything that one publisher writes: complete sets with rising sequences, padded to one size.
fn messages(publisher: u8, bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for n in 0..FRAMES {
        let sequence = 1_000_000 + n;
        let head = Head {
            instance: InstanceId([publisher; 16]),
            started_at: 1_700_000_000_000_000_000,
            sequence,
            base: sequence,
            part: 0,
            parts: 1,
            sent_at: 1_700_000_000_000_000_000 + n,
            flags: Flags::COMPLETE,
            source: "h".into(),
        };
        let mut frame = Vec::new();
        encode_head(&mut frame, &head, 0);
        frame.resize(frame.len().max(bytes), 0xc0);
        out.extend([1, 5]);
        out.extend(b"info|");
        if frame.len() < 256 {
            out.extend([0, frame.len() as u8]);
        } else {
            out.push(2);
            out.extend((frame.len() as u64).to_be_bytes());
        }
        out.extend(frame);
    }
    out
}

/// Reads until nothing comes for a second; how much it was, and when the last came.
fn read_all(mut stream: TcpStream) -> (u64, Instant) {
    let (mut buffer, mut total, mut last) = (vec![0; 1 << 20], 0, Instant::now());
    let mut idle = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (total, last),
            Ok(n) => {
                total += n as u64;
                last = Instant::now();
                idle = 0;
            }
            Err(_) if total == 0 && idle < 20 => idle += 1,
            Err(_) => return (total, last),
        }
    }
}

/// The CPU seconds that this process has used, where that can be known.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}
