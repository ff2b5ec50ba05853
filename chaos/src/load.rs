//! Load: many simulated instances, the shipped broker and a shipped worker, and how long a measurement takes from its call
//! site to where a worker hears of it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use tokio::runtime::{Handle, Runtime};
use zibrato_core::frame::{
    Flags, Gauge, Head, InstanceId, Key, Kind, Row, Spread, State, Tags, Total, decode, encode_set,
};
use zibrato_core::histogram::Histogram;
use zibrato_core::{clock as core_clock, limits};
use zibrato_transport::{Event, Push, Subscriber};

use crate::clock::monotonic;
use crate::part::{Part, Usage, clean, used};
use crate::random::Random;

/// What a run under load is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many instances are simulated.
    pub instances: usize,
    /// How often each sends.
    pub interval: Duration,
    /// For how long.
    pub length: Duration,
    /// The program `zibrato`.
    pub zibrato: PathBuf,
    /// Where logs and states go.
    pub directory: PathBuf,
}

/// Metrics of a simulated instance.
const COUNTERS: usize = 20;
const TIMERS: usize = 6;
const GAUGES: usize = 4;
/// How many sources the instances share.
const SOURCES: usize = 100;
/// Gauges that are set with the time in turn, each less often than a frame is sent.
const MARKS: u64 = 1_000;
const LEVEL: &str = "info";
const TOPIC: &str = "info|";
/// How long the last totals may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// How many instances there were.
    pub instances: usize,
    /// Seconds between two frames of one.
    pub interval: f64,
    /// For how many seconds.
    pub seconds: f64,
    /// Metrics of each instance.
    pub metrics: usize,
    /// Frames and their bytes that were sent.
    pub frames: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Frames that a subscriber beside the worker heard of.
    pub heard: u64,
    /// What the broker used.
    pub broker: Usage,
    /// What the worker used.
    pub worker: Usage,
    /// Seconds of the processor that the simulation used.
    pub simulation_cpu_seconds: f64,
    /// From the call site to the arrival, in milliseconds: median, 99 of 100, most.
    pub from_call: [f64; 3],
    /// From the making of the frame to the arrival, in milliseconds: median, 99 of 100, most.
    pub from_frame: [f64; 3],
    /// How many marks that is from.
    pub marks: usize,
    /// What was counted, and what the worker wrote of it.
    pub counted: (i64, i64),
}

impl Report {
    /// Whether nothing is lost.
    pub fn is_good(&self) -> bool {
        self.counted.0 == self.counted.1
    }

    /// As Markdown.
    pub fn text(&self) -> String {
        let Report { instances, interval, seconds, metrics, frames, bytes, broker, worker, .. } = self;
        let share = |usage: &Usage| 100.0 * usage.cpu_seconds / seconds;
        let [call_median, call_most, call_worst] = self.from_call;
        let [frame_median, frame_most, frame_worst] = self.from_frame;
        format!(
            "{instances} instances of {metrics} metrics, a frame each {interval} s, for {seconds:.0} s: {:.0} frames/s, \
             {:.2} MB/s\n\n\
             | | |\n|---|---|\n\
             | broker | {:.1} % of a core, {:.0} MiB at most |\n\
             | worker (JSON, a flush each 10 s) | {:.1} % of a core, {:.0} MiB at most |\n\
             | simulation | {:.1} % of a core |\n\
             | from the call site to the worker | {call_median:.0} ms median, {call_most:.0} ms 99 of 100, \
             {call_worst:.0} ms most, the wait for the next frame included |\n\
             | from the frame to the worker | {frame_median:.2} ms median, {frame_most:.2} ms 99 of 100, \
             {frame_worst:.2} ms most, of {} |\n\
             | counted, and written by the worker | {} and {} |\n",
            *frames as f64 / seconds,
            *bytes as f64 / seconds / 1e6,
            share(broker),
            broker.peak_rss_kib as f64 / 1024.0,
            share(worker),
            worker.peak_rss_kib as f64 / 1024.0,
            100.0 * self.simulation_cpu_seconds / seconds,
            self.marks,
            self.counted.0,
            self.counted.1,
        )
    }
}

struct Instance {
    push: Push,
    id: InstanceId,
    source: String,
    born: u64,
    sequence: u64,
    random: Random,
    counters: [i64; COUNTERS],
    timers: Vec<(i64, Histogram)>,
}

impl Instance {
    fn new(broker: &zibrato_transport::Broker, number: usize) -> Instance {
        Instance {
            push: Push::start(broker),
            id: InstanceId::random(),
            source: format!("host-{}", number % SOURCES),
            born: core_clock::unix_nanos(),
            sequence: 0,
            random: Random::new(number as u64, "load"),
            counters: [0; COUNTERS],
            timers: vec![(0, Histogram::default()); TIMERS],
        }
    }

    /// Measures something, and sends a frame; its bytes.
    fn send(&mut self) -> (u64, u64) {
        for counter in &mut self.counters {
            *counter += self.random.within(1, 1_000) as i64;
        }
        for (sum, histogram) in &mut self.timers {
            for _ in 0..10 {
                let nanoseconds = self.random.within(50_000, 80_000_000);
                *sum += nanoseconds as i64;
                // All finite numbers are taken.
                let _ = histogram.record(nanoseconds as f64);
            }
        }
        self.sequence += 1;
        let now = core_clock::unix_nanos().max(self.born);
        let head = Head {
            instance: self.id,
            started_at: self.born,
            sequence: self.sequence,
            base: self.sequence,
            part: 0,
            parts: 1,
            sent_at: now,
            flags: Flags::COMPLETE,
            source: self.source.clone(),
        };
        let frames = encode_set(&head, &self.rows(now), limits::FRAME);
        let bytes = frames.iter().map(|frame| frame.len() as u64).sum();
        let count = frames.len() as u64;
        for frame in frames {
            self.push.offer(TOPIC, frame.into());
        }
        (count, bytes)
    }

    fn rows(&self, now: u64) -> Vec<Row> {
        let row = |kind, name: String, state| {
            let key = Key {
                kind,
                name: name.as_str().into(),
                source: self.source.as_str().into(),
                tags: Tags::none(),
                born: self.born,
            };
            Row { key, state, trace: None, event: None }
        };
        let counters = self.counters.iter().enumerate().map(|(n, total)| {
            row(Kind::Counter, format!("load.counter.{n}"), State::Total(Total::whole(*total)))
        });
        let timers = self.timers.iter().enumerate().map(|(n, (sum, histogram))| {
            let spread = Spread { sum: Total::whole(*sum), span: None, histogram: histogram.clone() };
            row(Kind::Timer, format!("load.timer.{n}"), State::Spread(spread))
        });
        let gauges = (0..GAUGES).map(|n| {
            let gauge = Gauge { value: self.sequence as f64, set_at: now, statistics: None };
            row(Kind::Gauge, format!("load.gauge.{n}"), State::Gauge(gauge))
        });
        counters.chain(timers).chain(gauges).collect()
    }
}

/// Runs it.
///
/// # Errors
/// When a part cannot be started.
///
/// # Panics
/// When the library is installed in this process already.
pub fn load(settings: &Settings) -> io::Result<Report> {
    let logs = settings.directory.join("logs");
    std::fs::create_dir_all(&logs)?;
    let port = crate::run::free_ports(3)?;
    let url = format!("tcp://127.0.0.1:{port}");
    let (mut broker, mut worker) = (Part::new("broker", &logs), Part::new("worker", &logs));
    let mut command = clean(&settings.zibrato);
    command.args(["broker", "--port", &port.to_string(), "--state"]).arg(settings.directory.join("broker"));
    broker.start(command)?;
    let lines = settings.directory.join("lines.json");
    let mut command = clean(&settings.zibrato);
    command.args(["json", "--broker", &url, "--levels", LEVEL, "--flush", "10", "--file"]).arg(&lines);
    command.arg("--state").arg(settings.directory.join("worker"));
    worker.start(command)?;
    wait_for(port)?;
    std::thread::sleep(Duration::from_secs(3));

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let address: zibrato_transport::Broker = url.parse().map_err(io::Error::other)?;
    let listener = listen(&runtime, &address);
    let guard = zibrato::builder().without_environment().broker(&url).source("probe");
    let guard = guard.interval(settings.interval).install().map_err(io::Error::other)?;
    let stop = Arc::new(AtomicBool::new(false));
    let marking = mark(stop.clone());
    let mut instances: Vec<Instance> = {
        let _inside = runtime.enter();
        (0..settings.instances).map(|number| Instance::new(&address, number)).collect()
    };
    std::thread::sleep(Duration::from_secs(2));

    let [began_broker, began_worker] = [&mut broker, &mut worker].map(|part| {
        part.measure();
        part.usage().cpu_seconds
    });
    let own = used(std::process::id()).map_or(0.0, |(cpu, _)| cpu);
    let began = Instant::now();
    let (mut frames, mut bytes, mut round) = (0, 0, 0_u32);
    let mut measured = Instant::now();
    while began.elapsed() < settings.length {
        // Each instance at its own time within the interval.
        for (number, instance) in instances.iter_mut().enumerate() {
            let at = settings.interval.mul_f64(f64::from(round) + number as f64 / settings.instances as f64);
            std::thread::sleep(at.saturating_sub(began.elapsed()));
            let (count, size) = instance.send();
            (frames, bytes) = (frames + count, bytes + size);
        }
        round += 1;
        if measured.elapsed() > Duration::from_secs(1) {
            measured = Instant::now();
            broker.measure();
            worker.measure();
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    broker.measure();
    worker.measure();
    let simulation_cpu_seconds = used(std::process::id()).map_or(0.0, |(cpu, _)| cpu) - own;
    stop.store(true, Relaxed);
    // It only ends with an error where it panics, which is on stderr.
    let _ = marking.join();
    let counted: i64 = instances.iter().map(|instance| instance.counters.iter().sum::<i64>()).sum();
    let written = until_written(&lines, counted);
    let after = |part: &Part, before: f64| {
        let usage = part.usage();
        Usage { cpu_seconds: usage.cpu_seconds - before, ..usage }
    };
    let (broker_usage, worker_usage) = (after(&broker, began_broker), after(&worker, began_worker));
    guard.finish();
    let Heard { frames: heard, mut from_call, mut from_frame } = listener.stop();
    let marks = from_call.len();
    Ok(Report {
        instances: settings.instances,
        interval: settings.interval.as_secs_f64(),
        seconds,
        metrics: COUNTERS + TIMERS + GAUGES,
        frames,
        bytes,
        heard,
        broker: broker_usage,
        worker: worker_usage,
        simulation_cpu_seconds,
        from_call: quantiles(&mut from_call),
        from_frame: quantiles(&mut from_frame),
        marks,
        counted: (counted, written),
    })
}

fn wait_for(port: u16) -> io::Result<()> {
    let began = Instant::now();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    while let Err(why) = std::net::TcpStream::connect(address) {
        if began.elapsed() > PATIENCE {
            return Err(why);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Sets gauges to the time, in microseconds, at times that have nothing to do with those of frames.
fn mark(stop: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut random = Random::new(1, "marks");
        for number in 0.. {
            if stop.load(Relaxed) {
                return;
            }
            let name = format!("load.mark.{}", number % MARKS);
            zibrato::gauge(&name).handle().set((monotonic() / 1_000) as f64);
            std::thread::sleep(random.millis(2, 18));
        }
    })
}

#[derive(Debug, Default)]
struct Heard {
    frames: u64,
    /// In milliseconds.
    from_call: Vec<f64>,
    from_frame: Vec<f64>,
}

struct Listener {
    runtime: Handle,
    stop: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Heard>,
}

impl Listener {
    fn stop(self) -> Heard {
        // Where it has ended, it has nothing to tell.
        let _ = self.stop.send(());
        self.runtime.block_on(self.task).unwrap_or_default()
    }
}

/// Hears what a worker hears.
fn listen(runtime: &Runtime, broker: &zibrato_transport::Broker) -> Listener {
    let _inside = runtime.enter();
    let mut subscriber = Subscriber::start(std::slice::from_ref(broker), &[TOPIC.into()]);
    let (stop, mut stopped) = tokio::sync::oneshot::channel();
    let task = runtime.spawn(async move {
        let mut heard = Heard::default();
        let mut seen = std::collections::HashMap::new();
        loop {
            let frame = tokio::select! {
                _ = &mut stopped => return heard,
                event = subscriber.recv() => match event {
                    Event::Message { frame, .. } => frame,
                    _ => continue,
                },
            };
            let (arrived, arrived_at) = (monotonic(), core_clock::unix_nanos());
            let Ok(decoded) = decode(&frame) else { continue };
            heard.frames += 1;
            heard.from_frame.push(arrived_at.saturating_sub(decoded.frame.head.sent_at) as f64 / 1e6);
            if decoded.frame.head.source != "probe" {
                continue;
            }
            for row in decoded.frame.rows {
                if let State::Gauge(gauge) = row.state
                    && row.key.name.starts_with("load.mark.")
                    && seen.insert(row.key.name, gauge.value.to_bits()) != Some(gauge.value.to_bits())
                {
                    heard.from_call.push(arrived as f64 / 1e6 - gauge.value / 1e3);
                }
            }
        }
    });
    Listener { runtime: runtime.handle().clone(), stop, task }
}

fn quantiles(values: &mut [f64]) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let rank = ((share * values.len() as f64).ceil() as usize).clamp(1, values.len().max(1));
        values.get(rank - 1).copied().unwrap_or(f64::NAN)
    };
    [at(0.5), at(0.99), at(1.0)]
}

/// What the worker has written of all counters, once that is everything.
fn until_written(lines: &std::path::Path, counted: i64) -> i64 {
    let began = Instant::now();
    loop {
        let text = std::fs::read_to_string(lines).unwrap_or_default();
        let written: i64 = text
            .lines()
            .filter(|line| line.contains("load.counter."))
            .filter_map(|line| serde_json::from_str::<Value>(line).ok()?["value"].as_i64())
            .sum();
        if written == counted || began.elapsed() > PATIENCE {
            return written;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}
