//! Rounds of cases that take turns.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;
use std::time::{Duration, Instant};

use crate::case::{Case, Proof, Run};

/// How long one case takes in one round.
const TURN: Duration = Duration::from_millis(2);
/// Events before each turn of two threads, so that both have their cells and caches.
const WARM_UP: u64 = 1_000;
/// How often a turn of two threads is tried, until they were at it together for so much of the time.
const TRIES: usize = 8;
const ENOUGH: f64 = 0.9;
/// The pause for libraries whose own thread goes on with what it was given.
const PAUSE: Duration = Duration::from_millis(5);

/// Minimum and median in nanoseconds for each event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) min: f64,
    pub(crate) median: f64,
}

/// What one case costs, in nanoseconds for each event and thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Costs {
    pub(crate) one: Figures,
    pub(crate) same: Figures,
    pub(crate) different: Option<Figures>,
}

/// What all cases cost.
#[derive(Debug, Default)]
pub(crate) struct Results {
    costs: HashMap<&'static str, Costs>,
    /// The share of the time for which both of two threads were at it, as a median of all turns.
    pub(crate) overlap: f64,
}

impl Results {
    /// What the case of this name costs.
    pub(crate) fn get(&self, name: &str) -> Option<&Costs> {
        self.costs.get(name)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Threads {
    One,
    TwoSame,
    TwoDifferent,
}

/// One case in one mode: how many events fit a turn, and the time of each so far.
struct Turn<'c> {
    case: &'c Case,
    threads: Threads,
    events: u64,
    asked: u64,
    times: Vec<f64>,
    overlaps: Vec<f64>,
}

/// Measures all cases. What comes back second are the cases that did not record what they were asked to.
pub(crate) fn measure(cases: &[Case], rounds: usize) -> (Results, Vec<String>) {
    let gate = AtomicUsize::new(0);
    let turns = std::thread::scope(|scope| {
        let mut pair = Pair::start(scope, &gate);
        let mut turns: Vec<Turn<'_>> = cases.iter().flat_map(|case| modes(case, rounds)).collect();
        eprintln!("{} cases: calibrating", cases.len());
        turns.iter_mut().for_each(|turn| turn.calibrate(&mut pair));
        for round in 1..=rounds {
            eprint!("\rround {round} of {rounds}");
            for turn in &mut turns {
                let time = turn.take(&mut pair, turn.events);
                turn.times.push(time.as_nanos() as f64 / turn.events as f64);
                if turn.case.has_thread {
                    std::thread::sleep(PAUSE);
                }
            }
        }
        eprintln!();
        turns
    });
    let of = |case: &Case, threads| {
        let turn = turns.iter().find(|t| std::ptr::eq(t.case, case) && t.threads == threads)?;
        Some(figures(turn.times.clone()))
    };
    let overlaps = turns.iter().flat_map(|turn| turn.overlaps.iter().copied()).collect();
    let mut results = Results { overlap: figures(overlaps).median, ..Results::default() };
    let mut failures = Vec::new();
    for case in cases {
        if let (Some(one), Some(same)) = (of(case, Threads::One), of(case, Threads::TwoSame)) {
            results.costs.insert(case.name, Costs { one, same, different: of(case, Threads::TwoDifferent) });
        }
        let asked = turns.iter().filter(|t| std::ptr::eq(t.case, case)).map(|t| t.asked).sum();
        failures.extend(failure(case, asked));
    }
    (results, failures)
}

fn modes(case: &Case, rounds: usize) -> impl Iterator<Item = Turn<'_>> {
    let different = case.two_metrics.then_some(Threads::TwoDifferent);
    let turn = move |threads| Turn {
        case,
        threads,
        events: 0,
        asked: 0,
        times: Vec::with_capacity(rounds),
        overlaps: Vec::new(),
    };
    [Threads::One, Threads::TwoSame].into_iter().chain(different).map(turn)
}

/// What is wrong with what a library says it has recorded.
fn failure(case: &Case, asked: u64) -> Option<String> {
    let (recorded, expected) = match &case.proof {
        Proof::Nothing => return None,
        Proof::Exact(recorded) => (recorded(), asked),
        Proof::Some(recorded) => (recorded().min(1), 1),
    };
    (recorded != expected)
        .then(|| format!("{}: {asked} events, of which the library has {recorded}", case.name))
}

pub(crate) fn figures(mut times: Vec<f64>) -> Figures {
    times.sort_by(f64::total_cmp);
    let at = |i: usize| times.get(i).copied().unwrap_or(f64::NAN);
    Figures { min: at(0), median: at(times.len() / 2) }
}

impl<'c> Turn<'c> {
    /// Finds how many events fit a turn.
    fn calibrate(&mut self, pair: &mut Pair<'c>) {
        let mut n = 1_000;
        loop {
            let elapsed = self.take(pair, n);
            if elapsed > TURN / 2 {
                self.events = (n as f64 * TURN.as_secs_f64() / elapsed.as_secs_f64()) as u64 + 1;
                return;
            }
            n *= 4;
        }
    }

    /// Does so many events, on each thread if there are two, and tells how long a thread took for them.
    fn take(&mut self, pair: &mut Pair<'c>, n: u64) -> Duration {
        let metrics = match self.threads {
            Threads::One => {
                self.asked += n;
                let start = Instant::now();
                (self.case.run)(0, n);
                return start.elapsed();
            }
            Threads::TwoSame => [0, 0],
            Threads::TwoDifferent => [0, 1],
        };
        // Where others keep a processor busy, one thread may be over before the other begins.
        let mut best: Option<Both> = None;
        for _ in 0..TRIES {
            self.asked += 2 * (n + WARM_UP);
            let both = pair.run(&self.case.run, metrics, n);
            if best.as_ref().is_none_or(|best| best.overlap < both.overlap) {
                best = Some(both);
            }
            if best.as_ref().is_some_and(|best| best.overlap > ENOUGH) {
                break;
            }
        }
        self.overlaps.extend(best.as_ref().map(|best| best.overlap));
        best.map(|best| best.time).unwrap_or_default()
    }
}

/// What a thread of a pair is to do: so many events on this metric, once so many have come to the gate.
struct Task<'c> {
    run: &'c Run,
    metric: usize,
    events: u64,
    gate: usize,
}

/// How long two threads took on average, and the share of the time for which both were at it.
struct Both {
    time: Duration,
    overlap: f64,
}

/// Two threads that do the same at the same time.
struct Pair<'c> {
    tasks: [SyncSender<Task<'c>>; 2],
    done: Receiver<(Instant, Instant)>,
    gate: usize,
}

impl<'c> Pair<'c> {
    fn start<'s>(scope: &'s Scope<'s, 'c>, gate: &'c AtomicUsize) -> Self {
        let (done, times) = sync_channel(2);
        let tasks = [done.clone(), done].map(|done| {
            let (give, tasks) = sync_channel(1);
            scope.spawn(move || work(&tasks, &done, gate));
            give
        });
        Pair { tasks, done: times, gate: 0 }
    }

    fn run(&mut self, run: &'c Run, metrics: [usize; 2], events: u64) -> Both {
        self.gate += 2;
        for (tasks, metric) in self.tasks.iter().zip(metrics) {
            // A thread that is gone has panicked, which the end of the scope passes on.
            let _ = tasks.send(Task { run, metric, events, gate: self.gate });
        }
        let (Ok((a, b)), Ok((c, d))) = (self.done.recv(), self.done.recv()) else {
            return Both { time: Duration::ZERO, overlap: 1.0 };
        };
        let together = b.min(d).saturating_duration_since(a.max(c));
        let all = b.max(d) - a.min(c);
        Both { time: ((b - a) + (d - c)) / 2, overlap: together.as_secs_f64() / all.as_secs_f64() }
    }
}

fn work(tasks: &Receiver<Task<'_>>, done: &SyncSender<(Instant, Instant)>, gate: &AtomicUsize) {
    for Task { run, metric, events, gate: open } in tasks {
        run(metric, WARM_UP);
        gate.fetch_add(1, Relaxed);
        // Spinning, not sleeping: a wake-up takes a good part of a turn.
        while gate.load(Relaxed) < open {
            std::hint::spin_loop();
        }
        let start = Instant::now();
        run(metric, events);
        if done.send((start, Instant::now())).is_err() {
            return;
        }
    }
}
