//! An application that measures: the test program itself, started once more to run only [`application`].

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use zibrato::{count_me, time_me};

use super::process::Process;

/// The environment variable that makes a test program an application, and has its plan.
const PLAN: &str = "ZIBRATO_TEST_APPLICATION";
/// What the application's lines on stdout begin with, among those of the test harness.
const MARK: &str = "application: ";
/// How long a thread rests after a burst.
const REST: Duration = Duration::from_millis(100);
/// So many counters that their level does not fit into sets that are always complete.
const COUNTERS: u64 = 4_000;
/// For how long an application waits at its end for a broker.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// What each of an application's threads does.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub threads: u32,
    /// The last of them when the application is told to finish.
    pub bursts: u32,
    /// Calls in each burst, each of which is counted and timed.
    pub calls: u32,
}

/// What was recorded, by series and which of its figures: `#count` and `#sum` (in nanoseconds) of timers,
/// `#quarters` of what is counted in fractions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals(pub BTreeMap<String, i64>);

impl Totals {
    fn add(&mut self, name: &str, value: i64) {
        *self.0.entry(name.into()).or_default() += value;
    }
}

/// How an application ended.
#[derive(Debug)]
pub struct Ended {
    pub totals: Totals,
    /// How long its guard took to drop.
    pub took: Duration,
}

/// A running application.
pub struct Application {
    process: Process,
    plan: Plan,
    told: Arc<Mutex<Told>>,
    reader: Option<JoinHandle<()>>,
}

/// What it has said up to now.
#[derive(Default)]
struct Told {
    bursts: u64,
    totals: Option<Totals>,
    ended: Option<(bool, Duration)>,
}

impl Application {
    pub fn start(source: &str, brokers: &str, plan: Plan, log: &Path) -> Application {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["parts::application::application", "--exact", "--nocapture"])
            .env(PLAN, format!("{} {} {}", plan.threads, plan.bursts, plan.calls))
            .env("ZIBRATO_BROKER", brokers)
            .env("ZIBRATO_SOURCE", source)
            .env("ZIBRATO_INTERVAL", "0.2")
            .env("ZIBRATO_DEADLINE", DEADLINE.as_secs().to_string())
            .env("ZIBRATO_LEVELS", "*")
            .env_remove("ZIBRATO_SPILL")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = Process::start(source, &mut command, log);
        let said = BufReader::new(process.child.stdout.take().unwrap());
        let told = Arc::new(Mutex::new(Told::default()));
        let telling = told.clone();
        let reader = std::thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                let Some((_, text)) = line.split_once(MARK) else { continue };
                let value: Value = serde_json::from_str(text).unwrap();
                let mut told = telling.lock().unwrap();
                if let Some(bursts) = value["bursts"].as_u64() {
                    told.bursts = bursts;
                } else if let Some(totals) = value["totals"].as_object() {
                    let total = |(name, n): (&String, &Value)| (name.clone(), n.as_i64().unwrap());
                    told.totals = Some(Totals(totals.iter().map(total).collect()));
                } else if let (Some(delivered), Some(took)) =
                    (value["delivered"].as_bool(), value["took"].as_f64())
                {
                    told.ended = Some((delivered, Duration::from_secs_f64(took)));
                }
            }
        });
        Application { process, plan, told, reader: Some(reader) }
    }

    /// How much of its work is done, up to 1.
    pub fn progress(&mut self) -> f64 {
        self.process.assert_runs();
        let all = self.plan.threads * self.plan.bursts;
        self.told.lock().unwrap().bursts as f64 / f64::from(all)
    }

    /// Tells it to do the rest of its work without a rest, and to end.
    pub fn finish(&mut self) {
        drop(self.process.child.stdin.take());
    }

    /// Waits for its end; its last totals must have been acknowledged.
    pub fn ended(mut self) -> Ended {
        let status = self.process.wait();
        self.reader.take().unwrap().join().unwrap();
        let told = std::mem::take(&mut *self.told.lock().unwrap());
        let Told { totals: Some(totals), ended: Some((delivered, took)), .. } = told else {
            panic!("the application ended early: {status}");
        };
        assert!(status.success() && delivered, "nobody has acknowledged: {}", self.process.log());
        Ended { totals, took }
    }
}

/// What it is in the other processes. Does nothing where it is run as a test.
#[test]
fn application() {
    let Ok(plan) = std::env::var(PLAN) else { return };
    let mut numbers = plan.split(' ').map(|number| number.parse().unwrap());
    let mut number = || numbers.next().unwrap();
    let plan = Plan { threads: number(), bursts: number(), calls: number() };
    let guard = zibrato::install().unwrap();
    let work = Arc::new(Work::default());
    let threads: Vec<_> = (0..plan.threads)
        .map(|thread| {
            let work = work.clone();
            std::thread::spawn(move || work.run(u64::from(thread), plan))
        })
        .collect();
    // Nobody waits for this one: it may outlive the end.
    let told = work.clone();
    std::thread::spawn(move || {
        // There is nothing to be read but the end.
        std::io::stdin().lines().for_each(drop);
        told.finish();
    });
    while !threads.iter().all(JoinHandle::is_finished) {
        say(&json!({"bursts": work.state.lock().unwrap().bursts}));
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut totals = Totals::default();
    for thread in threads {
        thread.join().unwrap().0.into_iter().for_each(|(name, total)| totals.add(&name, total));
    }
    say(&json!({"totals": totals.0}));
    let began = Instant::now();
    let delivered = guard.finish();
    say(&json!({"delivered": delivered, "took": began.elapsed().as_secs_f64()}));
}

fn say(value: &Value) {
    let mut out = std::io::stdout().lock();
    // Without a parent there is nobody to say anything to.
    let _ = writeln!(out, "\n{MARK}{value}").and_then(|()| out.flush());
}

#[derive(Default)]
struct Work {
    state: Mutex<WorkState>,
    changed: Condvar,
}

#[derive(Default)]
struct WorkState {
    bursts: u64,
    finish: bool,
}

impl Work {
    fn finish(&self) {
        self.state.lock().unwrap().finish = true;
        self.changed.notify_all();
    }

    /// The work of one thread, of which it keeps its own account.
    fn run(&self, thread: u64, plan: Plan) -> Totals {
        let mut totals = Totals::default();
        (thread..COUNTERS).step_by(plan.threads as usize).for_each(|n| measure_one_of_many(n, &mut totals));
        for burst in 1..=plan.bursts {
            let mut state = self.state.lock().unwrap();
            if burst == plan.bursts {
                state = self.changed.wait_while(state, |state| !state.finish).unwrap();
            } else {
                state = self.changed.wait_timeout_while(state, REST, |state| !state.finish).unwrap().0;
            }
            drop(state);
            (0..plan.calls).for_each(|_| work());
            totals.add("e2e.calls", plan.calls.into());
            totals.add("e2e.time#count", plan.calls.into());
            let n = u64::from(burst) * 1_000 + thread;
            measure_known(n, &mut totals);
            measure_one_of_many(n * 7 % COUNTERS, &mut totals);
            measure_and_retire(n, thread, &mut totals);
            self.state.lock().unwrap().bursts += 1;
        }
        totals
    }
}

#[count_me(name = "e2e.calls")]
#[time_me(level = "debug", name = "e2e.time")]
fn work() {
    std::hint::black_box(());
}

/// Everything of which also the sum is known.
fn measure_known(n: u64, totals: &mut Totals) {
    let signed = n as i64;
    zibrato::timing!("e2e.known", Duration::from_nanos(n * n));
    totals.add("e2e.known#count", 1);
    totals.add("e2e.known#sum", signed * signed);
    zibrato::count!("e2e.bytes", n);
    totals.add("e2e.bytes", signed);
    zibrato::count!("e2e.share", n as f64 / 4.0);
    totals.add("e2e.share#quarters", signed);
    let seats = if n.is_multiple_of(2) { signed } else { -signed };
    zibrato::updown!("e2e.seats", seats);
    totals.add("e2e.seats", seats);
}

/// One of many counters of the level that the calls are timed at.
fn measure_one_of_many(number: u64, totals: &mut Totals) {
    let name = format!("e2e.many.{number}");
    zibrato::counter(&name).level("debug").handle().add(1);
    totals.add(&name, 1);
}

/// A counter that ends, and begins anew the next time.
fn measure_and_retire(n: u64, thread: u64, totals: &mut Totals) {
    let name = format!("e2e.session.{thread}");
    let session = zibrato::counter(&name).handle();
    session.add(n);
    session.retire();
    totals.add(&name, n as i64);
}
