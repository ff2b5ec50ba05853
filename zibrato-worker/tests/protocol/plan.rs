//! What kind of world a seed gives, or a test asks for.

use crate::random::Random;

/// Faults happen before this tick; a tick is a second.
pub(crate) const ACTIVE: u64 = 90;
/// The longest way of a message.
pub(crate) const DELAY: u64 = 6;
/// Clock steps of a worker are within so many seconds.
pub(crate) const STEP: i64 = 3;
/// The slack of first sight: more than clocks can step.
pub(crate) const SLACK: u64 = 4 * STEP as u64;
/// The longest way of a frame: two hops.
pub(crate) const WAY: u64 = 2 * (DELAY + 1);
pub(crate) const NEVER: u64 = 1_000_000;

pub(crate) const INFO: &str = "info";
pub(crate) const DEBUG: &str = "debug";

/// How an application ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    End,
    Crash,
}

#[derive(Debug, Clone)]
pub(crate) struct AppPlan {
    pub(crate) start: u64,
    pub(crate) stop: u64,
    pub(crate) fate: Fate,
    /// So many ticks after its start it begins to use the level `debug`.
    pub(crate) late: u64,
    /// Whether it counts by chance; otherwise only as the script says.
    pub(crate) counts: bool,
    /// Whether metrics are retired, and return.
    pub(crate) retires: bool,
}

/// What a backend knows repeats by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeats {
    ById,
    ByTime,
    Unknown,
}

#[derive(Debug, Clone)]
pub(crate) struct GroupPlan {
    pub(crate) start: u64,
    pub(crate) levels: &'static str,
    /// When it also listens to the other level; 0 for never.
    pub(crate) add: u64,
    pub(crate) repeats: Repeats,
    pub(crate) shards: u32,
}

/// What a script lets happen at a tick.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Count {
        app: usize,
        level: &'static str,
        metric: &'static str,
        n: i64,
    },
    Retire {
        app: usize,
        level: &'static str,
        metric: &'static str,
    },
    KillBroker {
        broker: usize,
        down: u64,
    },
    KillWorker {
        group: usize,
        down: u64,
    },
    /// Steps the clock of a group's workers to this distance from the time of day.
    Step {
        group: usize,
        by: i64,
    },
    /// Kills the worker within its next request, before or after the backend has taken it.
    KillSender {
        group: usize,
        after: bool,
    },
    /// What the backend does with the next request.
    Backend {
        group: usize,
        act: Act,
    },
}

/// What a backend does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Accept,
    /// Fails without having taken anything.
    Fail,
    /// Takes it, and the answer is lost.
    LoseAnswer,
    /// Takes a part and fails.
    PartThenFail,
    /// Takes a part and says so.
    Part,
    /// Fails, and takes it after a while all the same.
    Slow,
    /// Refuses one measurement for good and takes the others.
    RefuseOne,
    /// Refuses the batch for good.
    RefuseAll,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Outages {
    pub(crate) push: Vec<(u64, u64)>,
    pub(crate) publish: Vec<(u64, u64)>,
    pub(crate) ask: Vec<(u64, u64)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) apps: Vec<AppPlan>,
    pub(crate) groups: Vec<GroupPlan>,
    pub(crate) brokers: usize,
    pub(crate) loss: f64,
    pub(crate) twice: f64,
    pub(crate) delay: u64,
    pub(crate) outages: Outages,
    /// Clocks differ by up to so many seconds.
    pub(crate) skew: i64,
    pub(crate) steps: i64,
    pub(crate) broker_kill: f64,
    pub(crate) worker_kill: f64,
    pub(crate) long_down: bool,
    pub(crate) bad_backend: f64,
    pub(crate) spill: bool,
    /// The horizon of brokers.
    pub(crate) retention: u64,
    /// How many levels of instances a broker has room for.
    pub(crate) slots: usize,
    /// The horizon of workers.
    pub(crate) forget: u64,
    pub(crate) outbox: usize,
    pub(crate) batch_size: usize,
    /// Sets are split beyond so many bytes, and not always complete beyond so many.
    pub(crate) frame: usize,
    pub(crate) always_complete: usize,
    /// Whether all instances and levels write the same series; then only sums can be checked.
    pub(crate) shared: bool,
    pub(crate) script: Vec<(u64, Event)>,
    /// Ticks without faults at the end; whoever is silent must be found out in them.
    pub(crate) quiet: u64,
}

impl Plan {
    /// A world without faults and without applications: one broker, and one worker from the start.
    pub(crate) fn calm() -> Plan {
        Plan {
            seed: 1,
            apps: Vec::new(),
            groups: vec![GroupPlan {
                start: 0,
                levels: "info,debug",
                add: 0,
                repeats: Repeats::ById,
                shards: 1,
            }],
            brokers: 1,
            loss: 0.0,
            twice: 0.0,
            delay: 0,
            outages: Outages::default(),
            skew: 0,
            steps: 0,
            broker_kill: 0.0,
            worker_kill: 0.0,
            long_down: false,
            bad_backend: 0.0,
            spill: false,
            retention: NEVER,
            slots: 1000,
            forget: NEVER,
            outbox: 50,
            batch_size: 300,
            frame: 1 << 20,
            always_complete: 64 << 10,
            shared: false,
            script: Vec::new(),
            quiet: 60,
        }
    }

    /// An application that only counts what the script says.
    pub(crate) fn app(start: u64, stop: u64, fate: Fate) -> AppPlan {
        AppPlan { start, stop, fate, late: 0, counts: false, retires: false }
    }

    /// The world of a seed.
    pub(crate) fn random(seed: u64) -> Plan {
        let mut r = Random::new(("plan", seed));
        let r = &mut r;
        let mut plan = Plan {
            seed,
            brokers: r.pick(&[1, 2]),
            loss: r.pick(&[0.0, 0.05, 0.3]),
            twice: r.pick(&[0.0, 0.1]),
            delay: r.pick(&[0, 2, DELAY]),
            outages: Outages { push: outages(r), publish: outages(r), ask: outages(r) },
            skew: r.pick(&[0, 60]),
            steps: r.pick(&[0, STEP]),
            broker_kill: r.pick(&[0.0, 0.01, 0.04]),
            worker_kill: r.pick(&[0.0, 0.01, 0.05]),
            long_down: r.pick(&[false, true]),
            bad_backend: r.pick(&[0.0, 0.2, 0.6]),
            spill: r.pick(&[false, true]),
            retention: r.pick(&[NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, 40]),
            forget: r.pick(&[NEVER, NEVER, 45]),
            outbox: r.pick(&[3, 50]),
            batch_size: r.pick(&[3, 300]),
            frame: r.pick(&[1, 260, 1 << 20]),
            always_complete: r.pick(&[0, 64 << 10]),
            slots: r.pick(&[1000, 1000, 1000, 1000, 1000, 1000, 3]),
            quiet: 250,
            ..Plan::calm()
        };
        plan.shared = r.chance(0.15);
        let crash = if plan.shared { 0.0 } else { r.pick(&[0.0, 0.3, 1.0]) };
        if plan.shared {
            (plan.retention, plan.forget, plan.slots) = (NEVER, NEVER, 1000);
        }
        plan.apps = (0..r.pick(&[1, 2, 4])).map(|_| app(r, crash, &plan)).collect();
        plan.groups = (0..r.pick(&[1, 1, 2])).map(|_| group(r, &plan)).collect();
        plan
    }
}

fn outages(r: &mut Random) -> Vec<(u64, u64)> {
    let mut all = Vec::new();
    let mut t = r.below(60);
    while t < ACTIVE && r.chance(0.6) {
        let n = r.pick(&[3, 8, 20, 30]);
        all.push((t, t + n));
        t += n + 10 + r.below(40);
    }
    all
}

fn app(r: &mut Random, crash: f64, plan: &Plan) -> AppPlan {
    let late = r.below(80);
    let start = r.pick(&[0, late]);
    let mut stop = start + r.pick(&[1, 3, 20, 60, NEVER]);
    let mut fate = if r.chance(crash) { Fate::Crash } else { Fate::End };
    if stop >= ACTIVE {
        (stop, fate) = (r.pick(&[ACTIVE, NEVER]), Fate::End);
    }
    // Ends that nobody heard of can only be exact if they were spilled.
    if plan.shared && !plan.spill {
        stop = NEVER;
    }
    AppPlan { start, stop, fate, late: r.pick(&[0, 0, 15]), counts: true, retires: r.chance(0.5) }
}

fn group(r: &mut Random, plan: &Plan) -> GroupPlan {
    let start = r.pick(&[0, 0, 30, 60]);
    let levels = r.pick(&["info,debug", "info", "debug", "*", "*,!debug"]);
    let mut add = r.pick(&[0, 0, 50]);
    if add <= start || levels == "info,debug" || levels == "*" {
        add = 0;
    }
    let repeats = r.pick(&[Repeats::ById, Repeats::ByTime, Repeats::Unknown]);
    let shards = r.pick(&[1, 1, 2]);
    let all = plan.shared;
    GroupPlan {
        start: if all { 0 } else { start },
        levels: if all { "info,debug" } else { levels },
        add: if all { 0 } else { add },
        repeats,
        shards,
    }
}
