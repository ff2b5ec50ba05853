//! What a hostile or broken peer can do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crate::client::{self, HEAD, connect, greeting, head, hello, part, reach};
use crate::server::{LINES_IN, LINES_OUT};

/// The address that attacks come from.
const BAD: u8 = 3;

type Attack = fn(u16, u8, &AtomicBool);

/// Each with a counter of `zibrato info` that tells of it.
pub(crate) const ATTACKS: &[(&str, Attack, &str)] = &[
    ("nothing", |_, _, _| {}, ""),
    ("garbage, HTTP and half greetings", garbage, "no_zmtp"),
    ("silent connections, thousands", silent, "handshakes"),
    ("frame headers of 2^63 bytes", huge, "too_long"),
    ("messages of parts without end", endless, "too_many_parts"),
    ("large messages begun and not finished", unfinished, "unfinished"),
    ("subscriptions without end", subscriptions, "too_many_subscriptions"),
    ("PING and empty commands", pings, "commands"),
    ("resets in mid-frame", resets, "connections.accepted"),
    ("subscribers that do not read", slow, "frames_dropped"),
    ("thousands of subscribers of what nobody sends", idle, "commands"),
    ("askers that do not read", askers, "asks"),
    ("askers of everything that read and ask again", greedy, "asks"),
    ("hundreds of peers with one identity", same, "connections.accepted"),
    ("one metric name a frame", names, "level.info"),
    ("a million instances", instances, "evicted"),
    ("frames without a sound head, NaN, names of 64 KiB", unsound, "truncated"),
    ("old lines: a new name or level in each", lines, "lines_in"),
    ("old lines: values without end at all levels", values, "lines_in"),
    ("old lines that are none", no_lines, "line_fields"),
    ("subscribers of old lines that do not read", slow_lines, "frames_dropped"),
];

fn ports(port: u16) -> [(u16, &'static str); 5] {
    [
        (port, "PUSH"),
        (port + 1, "SUB"),
        (port + 2, "DEALER"),
        (port + LINES_IN, "PUB"),
        (port + LINES_OUT, "SUB"),
    ]
}

fn until(over: &AtomicBool, mut turn: impl FnMut() -> Option<()>) {
    while !over.load(Relaxed) {
        if turn().is_none() {
            // Whoever is refused tries again soon.
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn say(port: u16, bytes: &[u8]) -> Option<TcpStream> {
    let mut stream = reach(port, BAD).ok()?;
    stream.set_write_timeout(Some(Duration::from_millis(100))).ok()?;
    stream.write_all(bytes).ok()?;
    Some(stream)
}

fn garbage(port: u16, _: u8, over: &AtomicBool) {
    let noise: Vec<u8> = (0..1000u32).map(|n| ((n * 7919) >> 3) as u8).collect();
    let texts = [
        noise.clone(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        greeting()[..40].to_vec(),
        [greeting(), noise].concat(),
    ];
    let mut turn = 0;
    until(over, || {
        turn += 1;
        say(ports(port)[turn % 5].0, &texts[turn % 4]).map(drop)
    });
}

fn silent(port: u16, _: u8, over: &AtomicBool) {
    let (mut held, mut turn) = (Vec::new(), 0);
    until(over, || {
        turn += 1;
        if held.len() > 4000 {
            held.drain(..2000);
        }
        held.push(say(ports(port)[turn % 5].0, &[])?);
        Some(())
    });
}

fn huge(port: u16, _: u8, over: &AtomicBool) {
    let mut turn = 0;
    until(over, || {
        turn += 1;
        let (port, kind) = ports(port)[turn % 5];
        let mut stream = if turn % 2 == 0 { connect(port, kind, BAD).ok()? } else { say(port, &greeting())? };
        stream.write_all(&[&[[2, 3, 6][turn % 3]][..], &(1u64 << 63).to_be_bytes()].concat()).ok()?;
        // Until the broker ends it.
        stream.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
        stream.read_to_end(&mut Vec::new()).ok().map(drop)
    });
}

fn endless(port: u16, number: u8, over: &AtomicBool) {
    let small = [1, 0].repeat(32 << 10);
    let mut large = Vec::new();
    part(&mut large, true, &[1; 64 << 10]);
    until(over, || {
        let mut stream = connect(port, "PUSH", BAD).ok()?;
        let parts = if number == 0 { &small } else { &large };
        while !over.load(Relaxed) {
            stream.write_all(parts).ok()?;
        }
        Some(())
    });
}

fn unfinished(port: u16, _: u8, over: &AtomicBool) {
    let mut bytes = hello("PUSH");
    part(&mut bytes, true, b"info|");
    bytes.push(2);
    bytes.extend((1u64 << 20).to_be_bytes());
    bytes.resize(bytes.len() + (1 << 20) - 1, 7);
    let mut held = Vec::new();
    until(over, || {
        if held.len() >= 1000 {
            held.drain(..100);
        }
        let mut stream = reach(port, BAD).ok()?;
        stream.set_write_timeout(Some(Duration::from_millis(500))).ok()?;
        stream.write_all(&bytes).ok()?;
        held.push(stream);
        Some(())
    });
}

fn subscriptions(port: u16, _: u8, over: &AtomicBool) {
    until(over, || {
        let mut stream = connect(port + 1, "SUB", BAD).ok()?;
        let mut many = Vec::new();
        for number in 0u32.. {
            if over.load(Relaxed) {
                break;
            }
            many.clear();
            (0..500).for_each(|n| part(&mut many, false, format!("\u{1}l{number}n{n}|").as_bytes()));
            stream.write_all(&many).ok()?;
        }
        Some(())
    });
}

fn pings(port: u16, number: u8, over: &AtomicBool) {
    let ping = [&[4, 7, 4][..], b"PING", &[0, 0]].concat().repeat(1000);
    let mut turn = usize::from(number);
    until(over, || {
        turn += 1;
        let (port, kind) = ports(port)[turn % 5];
        let mut stream = connect(port, kind, BAD).ok()?;
        stream.set_write_timeout(Some(Duration::from_millis(200))).ok()?;
        (0..100).try_for_each(|_| stream.write_all(&ping).ok())?;
        stream.write_all(&[4, 0]).ok()
    });
}

fn resets(port: u16, _: u8, over: &AtomicBool) {
    let mut turn = 0;
    until(over, || {
        turn += 1;
        let (port, kind) = ports(port)[turn % 5];
        let stream = say(port, &[&hello(kind)[..], &[0, 200, 1, 2, 3]].concat())?;
        let stream = socket2::SockRef::from(&stream);
        // Ends with RST rather than FIN.
        stream.set_linger(Some(Duration::ZERO)).ok()
    });
}

fn slow(port: u16, number: u8, over: &AtomicBool) {
    let mut held = Vec::new();
    for _ in 0..100 {
        let Ok(mut stream) = connect(port + 1, "SUB", BAD) else { continue };
        if client::subscribe(&mut stream, b"").is_ok() {
            held.push(stream);
        }
    }
    // There has to be something that they do not read.
    let Ok(mut push) = connect(port, "PUSH", BAD) else { return };
    let mut messages = client::Messages::new([90 + number; 16], 100_000, 1);
    until(over, || {
        std::thread::sleep(Duration::from_millis(2));
        push.write_all(messages.next()).ok()
    });
}

fn idle(port: u16, _: u8, over: &AtomicBool) {
    let mut held = Vec::new();
    until(over, || {
        if held.len() >= 3500 {
            return None;
        }
        let mut stream = connect(port + 1, "SUB", BAD).ok()?;
        stream.write_all(b"\x04\x11\x09SUBSCRIBEnobody|").ok()?;
        held.push(stream);
        Some(())
    });
}

fn askers(port: u16, number: u8, over: &AtomicBool) {
    if let Ok(mut push) = connect(port, "PUSH", BAD) {
        for n in 0..40u8 {
            let _ = push.write_all(
                client::Messages::new([n, number, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], 100_000, 1)
                    .next(),
            );
        }
    }
    let mut question = Vec::new();
    part(&mut question, true, b"ask");
    part(&mut question, false, &[0x93, 7, 0x90, 0xc0]);
    part(&mut question, true, b"info");
    part(&mut question, false, &[0x91, 1]);
    let question = question.repeat(100);
    let mut held = Vec::new();
    until(over, || {
        if held.len() > 100 {
            held.clear();
        }
        let mut stream = connect(port + 2, "DEALER", BAD).ok()?;
        stream.write_all(&question).ok()?;
        held.push(stream);
        Some(())
    });
}

fn greedy(port: u16, number: u8, over: &AtomicBool) {
    if let Ok(mut push) = connect(port, "PUSH", BAD) {
        for n in 0..7500u32 {
            let mut instance = [number; 16];
            instance[..4].copy_from_slice(&n.to_be_bytes());
            let mut message = Vec::new();
            part(&mut message, true, b"info|");
            part(&mut message, false, &head(instance, 1, 64));
            let _ = push.write_all(&message);
        }
    }
    let (mut all, mut none) = (Vec::new(), Vec::new());
    part(&mut all, true, b"ask");
    part(&mut all, false, &[0x93, 7, 0x90, 0xc0]);
    part(&mut none, true, b"ask");
    part(&mut none, false, &[0x93, 7, 0x91, 0xa1, b'x', 0xc0]);
    let ask = |turn: u32| {
        let mut stream = connect(port + 2, "DEALER", BAD).ok()?;
        stream.set_read_timeout(Some(Duration::from_millis(50))).ok()?;
        let question = if turn.is_multiple_of(2) { &all } else { &none };
        let mut buffer = vec![0; 256 << 10];
        while !over.load(Relaxed) {
            stream.write_all(&question.repeat(4)).ok()?;
            let _ = stream.read(&mut buffer);
        }
        Some(())
    };
    std::thread::scope(|scope| (0..16).for_each(|turn| drop(scope.spawn(move || until(over, || ask(turn))))));
}

fn same(port: u16, _: u8, over: &AtomicBool) {
    let mut body = b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\x04same".to_vec();
    let mut bytes = greeting();
    bytes.extend([4, body.len() as u8]);
    bytes.append(&mut body);
    let mut held = Vec::new();
    until(over, || {
        if held.len() > 300 {
            held.clear();
        }
        held.push(say(port + 2, &bytes)?);
        Some(())
    });
}

/// A row of a counter: kind, name, no tags, born, state.
fn row(name: &[u8]) -> Vec<u8> {
    let mut row = vec![0x95, 0, 0xda];
    row.extend((name.len() as u16).to_be_bytes());
    row.extend(name);
    row.extend([0x80, 1, 0x91, 1]);
    row
}

fn names(port: u16, number: u8, over: &AtomicBool) {
    let mut sequence = 0;
    flood(port, over, |out| {
        sequence += 1;
        let mut frame = head([50 + number; 16], sequence, HEAD);
        frame[HEAD - 1] = 0x91;
        frame.extend(row(format!("name.{sequence}").as_bytes()));
        part(out, true, b"info|");
        part(out, false, &frame);
    });
}

fn instances(port: u16, number: u8, over: &AtomicBool) {
    let mut id = u64::from(number) << 56;
    flood(port, over, |out| {
        id += 1;
        let mut instance = [7; 16];
        instance[..8].copy_from_slice(&id.to_be_bytes());
        part(out, true, b"info|");
        part(out, false, &head(instance, 1, 64));
    });
}

fn unsound(port: u16, number: u8, over: &AtomicBool) {
    let mut turn = 0u64;
    flood(port, over, |out| {
        turn += 1;
        let sound = head([60 + number; 16], turn, HEAD);
        let mut rows = sound.clone();
        rows[HEAD - 1] = 0x91;
        match turn % 4 {
            0 => rows.truncate(20),
            1 => rows.extend(
                [&[0x95, 4, 0xa1, b'g', 0x80, 1, 0x92, 0xcb][..], &f64::NAN.to_be_bytes(), &[1]].concat(),
            ),
            2 => rows.extend(row(&[b'n'; 65_000])),
            _ => rows[1] = 99,
        }
        part(out, true, b"info|");
        part(out, false, &rows);
    });
}

fn lines(port: u16, number: u8, over: &AtomicBool) {
    let mut turn = 0u64;
    flood_as("PUB", port + LINES_IN, over, |out| {
        turn += 1;
        let line = format!("l{}|Timer|name.{number}.{turn}|0.1|1700000000|s{turn}", turn / 1000);
        part(out, false, line.as_bytes());
    });
}

fn values(port: u16, number: u8, over: &AtomicBool) {
    let (mut turn, long) = (0u64, "n".repeat(200));
    flood_as("PUB", port + LINES_IN, over, |out| {
        turn += 1;
        let line = format!("l{}|Gauge|{long}{number}{turn}|{turn}.5|1700000000|{long}{turn}", turn % 256);
        part(out, false, line.as_bytes());
    });
}

fn no_lines(port: u16, _: u8, over: &AtomicBool) {
    let mut turn = 0usize;
    flood_as("PUB", port + LINES_IN, over, |out| {
        turn += 1;
        let bad: [&[u8]; 5] =
            [b"", b"info|Timer|name", b"\xff\xfe|", b"info|Gauge|n|NaN|1700000000|s", &[b'x'; 5000]];
        part(out, turn.is_multiple_of(7), bad[turn % 5]);
    });
}

fn slow_lines(port: u16, number: u8, over: &AtomicBool) {
    let mut held = Vec::new();
    for _ in 0..100 {
        let Ok(mut stream) = connect(port + LINES_OUT, "SUB", BAD) else { continue };
        if client::subscribe(&mut stream, b"").is_ok() {
            held.push(stream);
        }
    }
    values(port, number, over);
}

/// Pushes as fast as it goes.
fn flood(port: u16, over: &AtomicBool, message: impl FnMut(&mut Vec<u8>)) {
    flood_as("PUSH", port, over, message);
}

fn flood_as(kind: &str, port: u16, over: &AtomicBool, mut message: impl FnMut(&mut Vec<u8>)) {
    let mut bytes = Vec::new();
    until(over, || {
        let mut stream = connect(port, kind, BAD).ok()?;
        while !over.load(Relaxed) {
            bytes.clear();
            (0..200).for_each(|_| message(&mut bytes));
            stream.write_all(&bytes).ok()?;
        }
        Some(())
    });
}
