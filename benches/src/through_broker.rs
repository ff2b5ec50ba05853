//! Measurements through a running broker on loopback: four publishers, four subscribers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use zibrato_core::frame::{Kind, State, Tags, Total};
use zibrato_core::publish::Publisher;
use zibrato_core::registry::{Id, Reading};
use zibrato_transport::{Broker, Event, Push, Subscriber};

const ENDS: usize = 4;
/// What a publisher may have on its way that has not come out yet, in frames.
const AHEAD: u64 = 2_000;

fn frame(metrics: usize, sequence: u64) -> Vec<u8> {
    let id = |i: usize| Id {
        level: "info".into(),
        kind: Kind::Counter,
        name: format!("metric_{i}").into(),
        source: None,
        tags: Tags::none(),
    };
    let reading = |i| Reading {
        id: Arc::new(id(i)),
        born: 1,
        state: State::Total(Total::whole(sequence as i64)),
        traced: false,
    };
    let sets = Publisher::new("bench").collect((0..metrics).map(reading).collect(), 20_000_000_000);
    sets.into_iter().flat_map(|set| set.frames(20_000_000_000)).next().unwrap_or_default()
}

pub(crate) fn run(seconds: f64) {
    println!("### Through the broker, {ENDS} publishers and {ENDS} subscribers, {seconds} s each\n");
    println!(
        "| measurements a frame | bytes | frames/s in | measurements/s in | frames/s out | lost on the way |"
    );
    println!("|---|---|---|---|---|---|");
    let Ok(runtime) = Runtime::new() else { return println!("no runtime") };
    for metrics in [1, 10, 100, 1_000] {
        let bytes = frame(metrics, 1).len();
        let (sent, received, elapsed) = runtime.block_on(once(metrics, Duration::from_secs_f64(seconds)));
        let per_second = |n: u64| n as f64 / elapsed.as_secs_f64();
        let arrived = received / ENDS as u64;
        println!(
            "| {metrics} | {bytes} | {:.0} | {:.0} | {:.0} | {:.2} % |",
            per_second(arrived),
            per_second(arrived) * metrics as f64,
            per_second(received),
            100.0 * (1.0 - arrived as f64 / sent.max(1) as f64)
        );
    }
    println!();
}

/// Frames pushed, frames received by all subscribers together, and how long that took.
async fn once(metrics: usize, duration: Duration) -> (u64, u64, Duration) {
    let config = zibrato_broker::Config { port: 0, ..Default::default() };
    let Ok(broker) = zibrato_broker::Broker::bind(config).await else { return (0, 0, duration) };
    let url = format!("tcp://127.0.0.1:{}", broker.addresses().port);
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(broker.run(async { drop(stopped.await) }));
    let Ok(address) = url.parse::<Broker>() else { return (0, 0, duration) };

    let over = Arc::new(AtomicBool::new(false));
    let (sent, received) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let ready = Arc::new(AtomicU64::new(0));
    for _ in 0..ENDS {
        let mut subscriber = Subscriber::start(std::slice::from_ref(&address), &["info|".to_string()]);
        let (received, ready) = (received.clone(), ready.clone());
        tokio::spawn(async move {
            loop {
                match subscriber.recv().await {
                    Event::Message { .. } => drop(received.fetch_add(1, Relaxed)),
                    Event::Back { .. } => drop(ready.fetch_add(1, Relaxed)),
                    _ => {}
                }
            }
        });
    }
    while ready.load(Relaxed) < ENDS as u64 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let start = Instant::now();
    let publishers: Vec<_> = (0..ENDS)
        .map(|_| {
            let push = Push::start(&address);
            let frame = Bytes::from(frame(metrics, 1));
            let (over, sent, received) = (over.clone(), sent.clone(), received.clone());
            tokio::spawn(async move {
                while !over.load(Relaxed) {
                    if sent.load(Relaxed).saturating_sub(received.load(Relaxed) / ENDS as u64) > AHEAD {
                        tokio::time::sleep(Duration::from_micros(200)).await;
                        continue;
                    }
                    for _ in 0..50 {
                        sent.fetch_add(u64::from(push.offer("info|", frame.clone())), Relaxed);
                    }
                    tokio::task::yield_now().await;
                }
                push.close(Duration::from_secs(2)).await
            })
        })
        .collect();
    tokio::time::sleep(duration).await;
    over.store(true, Relaxed);
    for publisher in publishers {
        let _ = publisher.await;
    }
    let mut last = u64::MAX;
    while last != received.load(Relaxed) {
        last = received.load(Relaxed);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let elapsed = start.elapsed();
    drop(stop);
    let _ = running.await;
    (sent.load(Relaxed), received.load(Relaxed), elapsed)
}
