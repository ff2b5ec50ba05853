//! A run: a fleet is started, things go wrong for a while, and then everything is counted.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use zibrato_transport::Broker;
use zibrato_trial::{Fault as HttpFault, Proxy, required};

use crate::audit::Audit;
use crate::clock::{Wrong, library, monotonic};
use crate::conservation::{Comparison, Difference, compare};
use crate::disk::Disk;
use crate::hop::{Figures, Hop, Weather};
use crate::info::Told;
use crate::keys::{Keys, OBSERVER};
use crate::part::Part;
use crate::place::{
    ApplicationPlace, BrokerPlace, Habit, Surroundings, WorkerPlace, habit, name, spill_directory,
};
use crate::random::Random;
use crate::report::Report;
use crate::schedule::{Event, Fault, ServerFaults, Shape, Target, schedule};
use crate::servers::{self, Server};
use crate::settled::{Settled, add_settled};
use crate::truth::{Life, Trouble, Truth, together};
use crate::witness::{self, LEVEL, Log, NAME};
use crate::work::{Figure, steps_of};

/// What a run is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What everything follows from.
    pub seed: u64,
    /// For how long things go wrong.
    pub length: Duration,
    /// How many brokers; one or two, as the seed has it, if not given.
    pub brokers: Option<usize>,
    /// How many applications.
    pub applications: usize,
    /// Encrypts all connections of ZeroMQ, alters messages on them, and takes keys back.
    pub keys: bool,
    /// Only these faults; all if there are none.
    pub only: Vec<Fault>,
    /// None of these.
    pub without: Vec<Fault>,
    /// The program `zibrato`.
    pub zibrato: PathBuf,
    /// This program.
    pub program: PathBuf,
    /// Where logs, ledgers and states go.
    pub directory: PathBuf,
    /// Says what happens on stderr.
    pub verbose: bool,
}

/// How long everything may take to arrive after the last fault.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long after a fault its way may not yet be what it was: publishers wait up to 2 s before they connect again.
const RECOVERY: u64 = 3_500_000_000;
/// What was sent shortly before a kill may have been lost with it.
const BEFORE: u64 = 1_000_000_000;
/// For how long a broker's death can cost what was sent to a worker that was away: until the worker has asked.
const ASKING: u64 = 12_000_000_000;
/// How long a part that has ended by itself stays down.
const DOWN: Duration = Duration::from_secs(1);
/// For how many seconds something is done to messages until it must have met one.
const EFFECT: f64 = 10.0;
/// How many messages something happens to until somebody must have counted it.
const SEEN: u64 = 100;
/// How many differences are told.
const TOLD: usize = 50;
/// The workers whose clocks can be wrong: those whose servers take any time. Of brokers and applications some.
const WRONG_WORKERS: [&str; 2] = ["json", "influx-1"];
const WRONG_APPLICATIONS: [usize; 4] = [5, 9, 12, 18];

type SharedServer = Arc<Mutex<Box<dyn Server>>>;

fn lock(server: &SharedServer) -> MutexGuard<'_, Box<dyn Server>> {
    server.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What went wrong at a place, and when.
struct Recorded {
    target: Target,
    fault: Fault,
    trouble: Trouble,
}

struct Run {
    settings: Settings,
    // Before the runtime, so that parts are gone before what they connect to.
    applications: Vec<ApplicationPlace>,
    workers: Vec<WorkerPlace>,
    brokers: Vec<BrokerPlace>,
    servers: Vec<SharedServer>,
    at_servers: Vec<JoinHandle<()>>,
    lives: Vec<Life>,
    recorded: Vec<Recorded>,
    /// Parts that are down because of a fault.
    held: BTreeSet<Target>,
    /// Parts that were asked to end, and have not yet.
    ending: BTreeSet<Target>,
    /// Parts whose disk is in trouble, so that they may end by themselves.
    excused: BTreeSet<Target>,
    faults: BTreeMap<Fault, u64>,
    complaints: Vec<String>,
    left_out: Vec<String>,
    told: Told,
    keys: Option<Rc<RefCell<Keys>>>,
    began: Instant,
    stopped: Arc<AtomicBool>,
    runtime: Runtime,
}

/// The schedule of a run on this machine, and what had to be left out of it.
pub struct Plan {
    /// The events.
    pub events: Vec<Event>,
    /// How many brokers there are.
    pub brokers: usize,
}

/// Becomes true with INT and TERM.
fn stopped(runtime: &Runtime) -> Arc<AtomicBool> {
    let stopped = Arc::new(AtomicBool::new(false));
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let _inside = runtime.enter();
        // Without it, the signal ends the process, and leaves what it has started.
        let Ok(mut signals) = signal(kind) else { continue };
        let stopped = stopped.clone();
        runtime.spawn(async move {
            signals.recv().await;
            stopped.store(true, Relaxed);
        });
    }
    stopped
}

fn shape_of(
    workers: Vec<(usize, ServerFaults)>,
    names: &[String],
    brokers: usize,
    settings: &Settings,
) -> Shape {
    let mortal = (0..settings.applications).filter(|number| habit(*number) == Habit::Mortal).collect();
    let clocks = (0..brokers).map(Target::Broker);
    let wrong = |name: &String| WRONG_WORKERS.contains(&name.as_str());
    let clocks = clocks.chain((0..names.len()).filter(|n| wrong(&names[*n])).map(Target::Worker));
    let applications = WRONG_APPLICATIONS.into_iter().filter(|number| *number < settings.applications);
    let clocks = clocks.chain(applications.map(Target::Application)).collect();
    let all = (0..settings.applications).map(Target::Application);
    let keys = all.chain((0..names.len()).map(Target::Worker)).filter(|_| settings.keys).collect();
    Shape { brokers, workers, mortal, applications: settings.applications, clocks, disks: true, keys }
}

/// What is planned does not depend on what is installed; what cannot be done is left out when its time comes.
fn plan(settings: &Settings, shape: &Shape) -> Plan {
    let mut events = schedule(settings.seed, settings.length, shape);
    events.retain(|event| {
        let only = settings.only.is_empty() || settings.only.contains(&event.fault);
        only && !settings.without.contains(&event.fault)
    });
    Plan { events, brokers: shape.brokers }
}

/// Starts a fleet, lets things go wrong, and compares.
///
/// # Errors
/// When the fleet cannot be set up. What goes wrong afterwards is in the report.
///
/// # Panics
/// When a server does not start.
pub fn run(settings: Settings) -> io::Result<Report> {
    let (mut run, plan) = Run::set_up(settings)?;
    run.start()?;
    run.say(&format!("{} events in {:.0} s", plan.events.len(), run.settings.length.as_secs_f64()));
    run.play(&plan.events);
    run.heal();
    run.check_stopped()?;
    run.finish(plan)
}

impl Run {
    fn set_up(settings: Settings) -> io::Result<(Run, Plan)> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let stopped = stopped(&runtime);
        let directory = settings.directory.clone();
        let logs = directory.join("logs");
        for name in ["logs", "ledgers", "spilled", "state", "clocks"] {
            std::fs::create_dir_all(directory.join(name))?;
        }
        let (servers, missing) = servers::all(&directory);
        let mut left_out: Vec<String> =
            missing.iter().map(|server| format!("{server}: it is not installed")).collect();
        if library().is_none() {
            let why = "steps of clocks: libfaketime is not installed (Debian: faketime)";
            if required() {
                return Err(io::Error::other(why));
            }
            left_out.push(why.into());
        }
        let mut random = Random::new(settings.seed, "fleet");
        let brokers = settings.brokers.unwrap_or_else(|| 1 + usize::from(random.chance(0.5)));
        let disk = |state: &Path, left_out: &mut Vec<String>| match Disk::mount(state, 48) {
            Ok(disk) => Some(disk),
            Err(why) => {
                let line = format!("full and read-only disks: mounting one failed ({why})");
                if !left_out.contains(&line) {
                    left_out.push(line);
                }
                None
            }
        };
        let clock = |name: &str| Wrong::new(&directory.join("clocks").join(name));
        let names = |server: &dyn Server| match (server.name(), shards_of(server)) {
            (name, 1) => vec![name.to_owned()],
            (name, shards) => (1..=shards).map(|shard| format!("{name}-{shard}")).collect(),
        };
        let keys = if settings.keys {
            let workers = servers.iter().flat_map(|server| names(&**server));
            let everybody = (0..settings.applications).map(name).chain(workers);
            Some(Rc::new(RefCell::new(Keys::new(&directory.join("keys"), everybody)?)))
        } else {
            None
        };
        let way = |before, port| Hop::start(runtime.handle(), before, port, settings.seed, settings.keys);
        let mut broker_places = Vec::new();
        for number in 0..brokers {
            let name = format!("broker-{number}");
            let (port, before) = (free_ports(3)?, free_ports(3)?);
            let state = directory.join("state").join(&name);
            broker_places.push(BrokerPlace {
                part: Part::new(&name, &logs),
                port,
                disk: disk(&state, &mut left_out),
                state,
                clock: clock(&name),
                way: way(before, port)?,
                keys: keys.clone(),
            });
        }
        let mut workers = Vec::new();
        for (number, server) in servers.iter().enumerate() {
            let shards = shards_of(&**server);
            for (shard, name) in (1..).zip(names(&**server)) {
                let way_to_server = server.port().map(Proxy::start);
                let port = way_to_server.as_ref().map_or(0, Proxy::port);
                let mut arguments = server.arguments(port);
                arguments.extend(["--levels", server.levels()].map(String::from));
                if shards > 1 {
                    arguments.extend(["--shard".into(), format!("{shard}/{shards}")]);
                }
                let state = directory.join("state").join(&name);
                let mut ways = Vec::new();
                for broker in &broker_places {
                    ways.push(way(free_ports(3)?, broker.port)?);
                }
                workers.push(WorkerPlace {
                    part: Part::new(&name, &logs),
                    server: number,
                    arguments,
                    disk: disk(&state, &mut left_out),
                    clock: if WRONG_WORKERS.contains(&name.as_str()) { clock(&name) } else { None },
                    state,
                    ways,
                    way_to_server,
                    keys: keys.clone(),
                });
            }
        }
        let applications = (0..settings.applications)
            .map(|number| {
                let wrong = WRONG_APPLICATIONS.contains(&number);
                let clock = if wrong { clock(&format!("application-{number}")) } else { None };
                ApplicationPlace::new(number, &logs, settings.seed, clock)
            })
            .collect();
        let shapes = workers.iter().map(|worker| (worker.server, servers[worker.server].faults())).collect();
        let names: Vec<String> = workers.iter().map(|worker| worker.part.name.clone()).collect();
        let plan = plan(&settings, &shape_of(shapes, &names, brokers, &settings));
        let run = Run {
            applications,
            workers,
            brokers: broker_places,
            servers: servers.into_iter().map(|server| Arc::new(Mutex::new(server))).collect(),
            at_servers: Vec::new(),
            lives: Vec::new(),
            recorded: Vec::new(),
            held: BTreeSet::new(),
            ending: BTreeSet::new(),
            excused: BTreeSet::new(),
            faults: BTreeMap::new(),
            complaints: Vec::new(),
            left_out,
            told: Told::default(),
            keys,
            began: Instant::now(),
            stopped,
            settings,
            runtime,
        };
        Ok((run, plan))
    }

    fn say(&self, what: &str) {
        if self.settings.verbose {
            eprintln!("{:>8.3} s  {what}", self.began.elapsed().as_secs_f64());
        }
    }

    fn start(&mut self) -> io::Result<()> {
        for place in &mut self.brokers {
            let command = place.command(&self.settings.zibrato);
            place.part.start(command)?;
            let mut broker = Broker::new("127.0.0.1", place.port);
            if let Some(keys) = &self.keys {
                broker = keys.borrow().secure(broker)?;
            }
            self.told.ask(self.runtime.handle(), &broker);
        }
        for place in &mut self.workers {
            let command = place.command(&self.settings.zibrato);
            place.part.start(command)?;
        }
        // A worker counts what begins when it listens already.
        let began = Instant::now();
        for place in &self.workers {
            while !place.state.join("state.db").exists() {
                if began.elapsed() > PATIENCE {
                    let log = std::fs::read_to_string(place.part.log()).unwrap_or_default();
                    return Err(io::Error::other(format!("{} does not start: {log}", place.part.name)));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        std::thread::sleep(Duration::from_millis(500));
        self.check_clocks();
        self.began = Instant::now();
        for number in 0..self.applications.len() {
            self.start_life(number);
        }
        Ok(())
    }

    /// A clock that cannot be stepped would be a fault that is none.
    fn check_clocks(&mut self) {
        let brokers = self.brokers.iter().map(|place| (&place.part, &place.clock));
        let all = brokers.chain(self.workers.iter().map(|place| (&place.part, &place.clock)));
        for (part, _) in all.filter(|(_, clock)| clock.is_some()) {
            let maps = part.id().and_then(|id| std::fs::read_to_string(format!("/proc/{id}/maps")).ok());
            if !maps.is_some_and(|maps| maps.contains("libfaketime")) {
                self.complaints.push(format!("{} does not use the clock that can be stepped", part.name));
            }
        }
    }

    /// What was lost, altered or repeated on the way shows in a count: of brokers what each life told before it was
    /// killed, of workers what the audit has read.
    fn check_counts(&mut self, to_brokers: Figures, from_brokers: Figures, audit: Option<&Audit>) {
        let Figures { altered, duplicated, frames_lost, .. } = to_brokers;
        let missed = audit.map_or(0, |audit| audit.workers.values().map(|worker| worker.missed).sum());
        // What one broker does not pass on, the other one does.
        let alone = if self.brokers.len() == 1 { from_brokers.frames_lost } else { 0 };
        let encrypted = if self.keys.is_some() { duplicated } else { 0 };
        let refused = self.told.refused();
        let refused =
            |reasons: &[&str]| -> u64 { reasons.iter().filter_map(|reason| refused.get(*reason)).sum() };
        let gaps: u64 = self.told.gaps().values().sum();
        let mut uncounted = Vec::new();
        for (what, happened, counted) in [
            ("lost on the way to brokers", frames_lost, gaps),
            ("lost on the way to workers", alone, missed),
            ("altered on the way to brokers", altered, refused(&["tampered", "bad_wire"])),
            ("repeated under encryption", encrypted, refused(&["replayed"])),
        ] {
            if happened >= SEEN && counted == 0 {
                uncounted.push(format!("{happened} messages were {what}, and nobody has counted one"));
            }
        }
        // Sets may have several parts, and the last one of a program shows in none behind it; but most do show.
        if frames_lost >= SEEN && self.keys.is_none() && gaps < frames_lost / 4 {
            let what =
                format!("{frames_lost} frames were lost on the way to brokers, which miss {gaps} sets");
            uncounted.push(what);
        }
        self.complaints.append(&mut uncounted);
    }

    /// Faults that have lasted for a while and have met no message, and so were none.
    fn check_effects(&mut self, figures: Figures) {
        let made = |faults: &[Fault]| {
            let ways = self.recorded.iter().filter(|r| {
                let is_way = matches!(r.target, Target::WayToBroker(_) | Target::WayFromBroker { .. });
                is_way && faults.contains(&r.fault)
            });
            ways.map(|r| r.trouble.end.saturating_sub(r.trouble.begin) as f64 / 1e9).sum::<f64>()
        };
        let Figures { dropped, altered, duplicated, delayed, reordered, resets, .. } = figures;
        let mut none = Vec::new();
        for (what, count, faults) in [
            ("dropped", dropped + altered, &[Fault::Drop, Fault::Mix][..]),
            ("sent twice", duplicated, &[Fault::Duplicate, Fault::Mix]),
            ("late", delayed, &[Fault::Delay, Fault::Reorder, Fault::Mix]),
            ("out of order", reordered, &[Fault::Reorder, Fault::Mix]),
            ("cut off by a reset", resets, &[Fault::Refuse, Fault::HalfOpen]),
        ] {
            let seconds = made(faults);
            if count == 0 && seconds >= EFFECT {
                none.push(format!("no message was {what}, though that was done for {seconds:.1} s"));
            }
        }
        self.complaints.append(&mut none);
    }

    fn brokers_of_applications(&self) -> String {
        self.brokers.iter().map(|broker| broker.way.url()).collect::<Vec<_>>().join(",")
    }

    fn start_life(&mut self, number: usize) {
        let brokers = self.brokers_of_applications();
        let keys = self.keys.as_ref().map(|keys| keys.borrow());
        let around = Surroundings {
            program: &self.settings.program,
            directory: &self.settings.directory,
            brokers: &brokers,
            keys: keys.as_deref(),
        };
        let place = &mut self.applications[number];
        let (life, command) = place.next(&around);
        match place.part.start(command) {
            Ok(()) => {
                place.life = Some(self.lives.len());
                self.lives.push(life);
            }
            Err(why) => self.complaints.push(format!("{} cannot be started: {why}", place.part.name)),
        }
    }

    /// Does everything that is planned, and starts again what ends.
    fn play(&mut self, events: &[Event]) {
        let mut steps: Vec<(Duration, bool, usize)> = events
            .iter()
            .enumerate()
            .flat_map(|(n, event)| [(event.at, false, n), (event.at + event.lasts, true, n)])
            .collect();
        steps.sort();
        let mut begun: BTreeMap<usize, usize> = BTreeMap::new();
        for (at, ends, number) in steps {
            self.tend_until(at);
            if self.is_stopped() {
                return;
            }
            let event = &events[number];
            if ends {
                if let Some(record) = begun.remove(&number) {
                    self.end(event);
                    self.recorded[record].trouble.end = monotonic();
                }
            } else {
                let now = monotonic();
                let (begin, end) = (now.saturating_sub(before(event.fault)), u64::MAX);
                if self.begin(event) {
                    self.say(Report::plan(std::slice::from_ref(event)).trim());
                    *self.faults.entry(event.fault).or_default() += 1;
                    begun.insert(number, self.recorded.len());
                    let (target, fault) = (event.target.clone(), event.fault);
                    self.recorded.push(Recorded { target, fault, trouble: Trouble { begin, end } });
                }
            }
        }
        self.tend_until(self.settings.length);
    }

    /// Whether somebody wants it to end. All that it has started and mounted goes when it is dropped.
    fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    fn check_stopped(&self) -> io::Result<()> {
        if self.is_stopped() { Err(io::Error::other("it was told to end")) } else { Ok(()) }
    }

    /// Looks after the fleet until a time of the run.
    fn tend_until(&mut self, until: Duration) {
        loop {
            self.tend(true);
            let left = until.saturating_sub(self.began.elapsed());
            if left.is_zero() || self.is_stopped() {
                return;
            }
            std::thread::sleep(left.min(Duration::from_millis(20)));
        }
    }

    /// Starts again what has ended, and takes note of what everything uses.
    fn tend(&mut self, applications: bool) {
        let zibrato = self.settings.zibrato.clone();
        let (held, excused, ending) = (&self.held, &self.excused, &mut self.ending);
        let mut notes = Vec::new();
        let mut tend = |part: &mut Part, target: Target, command: &dyn Fn() -> std::process::Command| {
            part.measure();
            if let Some(status) = part.has_ended() {
                let expected = ending.remove(&target) || held.contains(&target) || excused.contains(&target);
                if !expected {
                    notes.push(format!(
                        "{} ended by itself: {status}; see {}",
                        part.name,
                        part.log().display()
                    ));
                }
                part.start_after(DOWN);
            }
            if !part.is_running()
                && !held.contains(&target)
                && (part.is_due() || !part.will_start())
                && let Err(why) = part.start(command())
            {
                notes.push(format!("{} cannot be started: {why}", part.name));
                part.start_after(DOWN);
            }
        };
        for (number, place) in self.brokers.iter_mut().enumerate() {
            let command = place.command(&zibrato);
            let again = std::cell::Cell::new(Some(command));
            tend(&mut place.part, Target::Broker(number), &|| {
                again.take().unwrap_or_else(|| std::process::Command::new(&zibrato))
            });
        }
        for (number, place) in self.workers.iter_mut().enumerate() {
            let command = place.command(&zibrato);
            let again = std::cell::Cell::new(Some(command));
            tend(&mut place.part, Target::Worker(number), &|| {
                again.take().unwrap_or_else(|| std::process::Command::new(&zibrato))
            });
        }
        self.complaints.append(&mut notes);
        for number in 0..self.applications.len() {
            self.tend_application(number, applications);
        }
    }

    fn tend_application(&mut self, number: usize, again: bool) {
        let place = &mut self.applications[number];
        place.part.measure();
        if let Some(status) = place.part.has_ended() {
            use std::os::unix::process::ExitStatusExt as _;
            // Without an acknowledgement it ends with 3.
            let right = match place.habit {
                Habit::Aborts if again => status.signal() == Some(6),
                Habit::Aborts => status.signal() == Some(6) || matches!(status.code(), Some(0 | 3)),
                _ => matches!(status.code(), Some(0 | 3)),
            };
            if !right || (matches!(place.habit, Habit::Steady | Habit::Mortal | Habit::Forks) && again) {
                let log = place.part.log().display();
                self.complaints.push(format!("{} ended: {status}; see {log}", place.part.name));
            }
            place.life = None;
            let rest = place.rest();
            place.part.start_after(rest);
        }
        if again && self.applications[number].part.is_due() {
            self.start_life(number);
        }
    }

    /// Makes a fault; false where it cannot be made.
    fn begin(&mut self, event: &Event) -> bool {
        let Event { fault, target, .. } = event;
        let mut random = Random::new(self.settings.seed ^ event.at.as_nanos() as u64, "event");
        match (fault, target) {
            (Fault::Kill | Fault::End, Target::Broker(_) | Target::Worker(_)) => {
                let Some(part) = self.part(target).filter(|part| part.is_running()) else { return false };
                if *fault == Fault::Kill {
                    part.kill();
                } else {
                    part.terminate();
                    self.ending.insert(target.clone());
                }
                self.held.insert(target.clone());
                true
            }
            (Fault::Kill, Target::Application(number)) => {
                let place = &mut self.applications[*number];
                let Some(life) = place.life.take() else { return false };
                place.part.kill();
                place.part.start_after(event.lasts);
                self.lives[life].killed = Some(monotonic());
                true
            }
            (Fault::Pause, Target::Server(number)) => {
                let Ok(mut server) = self.servers[*number].try_lock() else { return false };
                server.process().inspect(|process| process.pause()).is_some()
            }
            (Fault::Pause, target) => match self.part(target) {
                Some(part) if part.is_running() => {
                    part.pause(true);
                    true
                }
                _ => false,
            },
            (Fault::Kill, Target::Server(number)) => {
                let server = self.servers[*number].clone();
                if server.try_lock().is_err() {
                    return false;
                }
                let lasts = event.lasts;
                self.at_servers.push(std::thread::spawn(move || {
                    let mut server = lock(&server);
                    if let Some(process) = server.process() {
                        process.kill();
                        std::thread::sleep(lasts);
                        process.start();
                    }
                }));
                true
            }
            (Fault::Reject, Target::Server(number)) => {
                let Ok(server) = self.servers[*number].try_lock() else { return false };
                server.reject(random.within(1, 4) as usize);
                true
            }
            (fault, Target::WayToServer(number)) => {
                let Some(way) = &self.workers[*number].way_to_server else { return false };
                way.set(match fault {
                    Fault::Refuse => HttpFault::Refuse,
                    Fault::Slow => HttpFault::Slow(random.within(200, 4_000)),
                    Fault::LoseAnswers => HttpFault::LoseAnswers,
                    Fault::Reset => HttpFault::ResetAfter(random.within(1, 3_000)),
                    _ => HttpFault::Hang,
                });
                true
            }
            (fault, Target::WayToBroker(_) | Target::WayFromBroker { .. }) => {
                let Some(way) = self.way(target) else { return false };
                let calm = Weather { resets: way.weather().resets, ..Weather::default() };
                way.set(weather(*fault, calm, &mut random));
                true
            }
            (Fault::Revoke, target) => self.revoke(target, true),
            (Fault::FullDisk, target) => {
                let is_full = self.disk(target).is_some_and(|disk| disk.fill().is_ok());
                if is_full {
                    self.excused.insert(target.clone());
                }
                is_full
            }
            (Fault::ReadOnly, target) => {
                if self.disk(target).is_none() {
                    return false;
                }
                if let Some(part) = self.part(target) {
                    part.kill();
                }
                if let Some(Err(why)) = self.disk(target).map(|disk| disk.set_read_only(true)) {
                    self.complaints.push(format!("{target} cannot be made read-only: {why}"));
                }
                self.excused.insert(target.clone());
                true
            }
            (Fault::Step, target) => {
                let clock = match target {
                    Target::Broker(number) => &self.brokers[*number].clock,
                    Target::Worker(number) => &self.workers[*number].clock,
                    Target::Application(number) => &self.applications[*number].clock,
                    _ => &None,
                };
                clock.as_ref().is_some_and(|clock| clock.set(event.by).is_ok())
            }
            _ => false,
        }
    }

    /// Ends a fault.
    fn end(&mut self, event: &Event) {
        let Event { fault, target, .. } = event;
        match (fault, target) {
            (Fault::Kill | Fault::End, Target::Broker(_) | Target::Worker(_)) => {
                self.held.remove(target);
            }
            (Fault::Pause, Target::Server(number)) => {
                if let Some(process) = lock(&self.servers[*number]).process() {
                    process.resume();
                }
            }
            (Fault::Pause, target) => {
                if let Some(part) = self.part(target) {
                    part.pause(false);
                }
            }
            (_, Target::WayToServer(number)) => {
                if let Some(way) = &self.workers[*number].way_to_server {
                    way.pass();
                }
            }
            (fault, Target::WayToBroker(_) | Target::WayFromBroker { .. }) => {
                if let Some(way) = self.way(target) {
                    let resets = way.weather().resets + u64::from(*fault == Fault::HalfOpen);
                    way.set(Weather { resets, ..Weather::default() });
                }
            }
            (Fault::Revoke, target) => _ = self.revoke(target, false),
            (Fault::FullDisk, target) => {
                self.disk(target).map(Disk::free);
                self.excused.remove(target);
            }
            (Fault::ReadOnly, target) => {
                self.disk(target).map(|disk| disk.set_read_only(false));
                self.excused.remove(target);
            }
            _ => {}
        }
    }

    fn part(&mut self, target: &Target) -> Option<&mut Part> {
        match target {
            Target::Broker(number) => Some(&mut self.brokers[*number].part),
            Target::Worker(number) => Some(&mut self.workers[*number].part),
            Target::Application(number) => Some(&mut self.applications[*number].part),
            _ => None,
        }
    }

    /// Takes the key of a part back, or allows it again; false where it has none.
    fn revoke(&mut self, target: &Target, revoke: bool) -> bool {
        let Some(name) = self.part(target).map(|part| part.name.clone()) else { return false };
        self.keys.as_ref().is_some_and(|keys| match keys.borrow_mut().revoke(&name, revoke) {
            Ok(()) => true,
            Err(why) => {
                self.complaints.push(format!("the key of {name} cannot be taken back or given: {why}"));
                false
            }
        })
    }

    fn disk(&self, target: &Target) -> Option<&Disk> {
        match target {
            Target::Broker(number) => self.brokers[*number].disk.as_ref(),
            Target::Worker(number) => self.workers[*number].disk.as_ref(),
            _ => None,
        }
    }

    fn way(&self, target: &Target) -> Option<&Hop> {
        match target {
            Target::WayToBroker(broker) => Some(&self.brokers[*broker].way),
            Target::WayFromBroker { worker, broker } => Some(&self.workers[*worker].ways[*broker]),
            _ => None,
        }
    }

    /// Ends everything that is wrong, and all applications.
    fn heal(&mut self) {
        self.say("all faults are over");
        for server in self.at_servers.drain(..) {
            if server.join().is_err() {
                self.complaints.push("a server could not be started again".into());
            }
        }
        self.held.clear();
        self.excused.clear();
        self.tend_until(self.began.elapsed() + Duration::from_secs(2));
        for place in &mut self.applications {
            place.part.close_input();
        }
        let began = Instant::now();
        while self.applications.iter().any(|place| place.part.is_running()) && !self.is_stopped() {
            self.tend(false);
            std::thread::sleep(Duration::from_millis(20));
            if began.elapsed() > PATIENCE {
                let running = self.applications.iter().filter(|place| place.part.is_running());
                let names: Vec<&str> = running.map(|place| place.part.name.as_str()).collect();
                self.complaints.push(format!("these do not end: {}", names.join(", ")));
                break;
            }
        }
        self.say("all applications have ended");
    }

    /// Delivers what applications have left behind.
    fn deliver_spilled(&mut self) {
        let brokers = self.brokers_of_applications();
        for number in 0..self.applications.len() {
            let directory = spill_directory(&self.settings.directory, &self.applications[number].part.name);
            let is_empty = || std::fs::read_dir(&directory).map_or(true, |mut files| files.next().is_none());
            let began = Instant::now();
            while !is_empty() {
                let mut send = self.observer();
                send.args(["send", "--broker", &brokers, "--spilled"]).arg(&directory);
                let output = send.output();
                if began.elapsed() > PATIENCE {
                    let said = output.map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
                    let place = directory.display();
                    self.complaints.push(format!("what is in {place} cannot be delivered: {said:?}"));
                    break;
                }
            }
        }
    }

    /// When something was wrong on the way from applications to all brokers, and when a worker was away that a broker's
    /// death then kept from asking. `place` is the application's.
    fn troubles(&self, place: usize) -> Vec<Trouble> {
        let late = |trouble: Trouble| Trouble { end: trouble.end.saturating_add(RECOVERY), ..trouble };
        let of = |wanted: &dyn Fn(&Recorded) -> bool| {
            self.recorded.iter().filter(|r| wanted(r)).map(|r| late(r.trouble)).collect::<Vec<_>>()
        };
        let harmless = |fault: Fault| matches!(fault, Fault::Step | Fault::Duplicate | Fault::FullDisk);
        let to_broker: Vec<Vec<Trouble>> = (0..self.brokers.len())
            .map(|broker| {
                let way = Target::WayToBroker(broker);
                of(&|r| (r.target == Target::Broker(broker) || r.target == way) && !harmless(r.fault))
            })
            .collect();
        let mut troubles = together(&to_broker);
        troubles.extend(of(&|r| {
            r.target == Target::Application(place) && matches!(r.fault, Fault::Pause | Fault::Revoke)
        }));
        // What only a broker knew, because a worker was away, is gone with the broker.
        for worker in 0..self.workers.len() {
            let of_worker = |r: &&Recorded| match r.target {
                Target::Worker(of) | Target::WayFromBroker { worker: of, .. } => of == worker,
                _ => false,
            };
            let away = || {
                let away = self.recorded.iter().filter(of_worker).filter(|r| r.fault != Fault::Step);
                away.map(|r| (r.trouble.begin.saturating_sub(BEFORE), r.trouble.end.saturating_add(ASKING)))
            };
            let lost = to_broker.iter().enumerate().map(|(broker, troubles)| {
                let gone = away().filter_map(|(begin, until)| {
                    let died = self.deaths(broker).filter(|at| (begin..until).contains(at)).max()?;
                    Some(Trouble { begin, end: died.saturating_add(RECOVERY) })
                });
                troubles.iter().copied().chain(gone).collect()
            });
            troubles.extend(together(&lost.collect::<Vec<_>>()));
        }
        troubles
    }

    fn truth(&mut self) -> io::Result<Truth> {
        let mut truth = Truth::default();
        for life in &self.lives {
            truth.add(life, &self.troubles(life.place))?;
        }
        Ok(truth)
    }

    fn compare(&self, truth: &Truth, with_settled: bool) -> Vec<Result<Comparison, String>> {
        let compare_one = |(number, server): (usize, &SharedServer)| {
            let server = lock(server);
            let totals = server.totals().map_err(|why| format!("{}: {why}", server.name()))?;
            let mut all = Settled::default();
            for worker in self.workers.iter().filter(|worker| worker.server == number && with_settled) {
                add_settled(&mut all, &worker.state)?;
            }
            Ok(compare(server.name(), truth, &**server, &totals, with_settled.then_some(&all)))
        };
        self.servers.iter().enumerate().map(compare_one).collect()
    }

    /// Waits until all is there, ends the workers, and compares for good.
    fn finish(mut self, plan: Plan) -> io::Result<Report> {
        self.deliver_spilled();
        let mut truth = self.truth()?;
        let healed = Instant::now();
        loop {
            self.check_stopped()?;
            self.tend(false);
            let comparisons = self.compare(&truth, false);
            let differ = |c: &Result<Comparison, String>| !c.as_ref().is_ok_and(|c| c.differences.is_empty());
            let left = comparisons.iter().filter(|c| differ(c)).count();
            if left == 0 || healed.elapsed() > PATIENCE {
                break;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        let settled_after = healed.elapsed().as_secs_f64();
        self.say("the servers have everything, or will never");
        let audit = self.audit();
        // Nothing comes twice with the last flush.
        for (number, place) in self.workers.iter_mut().enumerate() {
            self.held.insert(Target::Worker(number));
            place.part.measure();
            place.part.terminate();
        }
        let began = Instant::now();
        while self.workers.iter().any(|place| place.part.is_running()) && began.elapsed() < PATIENCE {
            self.tend(false);
            std::thread::sleep(Duration::from_millis(20));
        }
        if self.workers.iter().any(|place| place.part.is_running()) {
            self.complaints.push("not all workers end when they are told to".into());
        }
        let (mut families, mut differences, mut compared) = (BTreeMap::new(), Vec::new(), 0);
        let comparisons = self.compare(&truth, true);
        match &audit {
            Ok(audit) => {
                let names = self.servers.iter().map(|server| lock(server).name().to_owned());
                let known: Vec<_> = names
                    .zip(&comparisons)
                    .filter_map(|(name, of)| Some((name, of.as_ref().ok()?)))
                    .collect();
                self.complaints.extend(audit.complaints(&known));
            }
            Err(why) => self.complaints.push(why.clone()),
        }
        for (comparison, server) in comparisons.into_iter().zip(&self.servers) {
            let server = lock(server);
            for complaint in server.complaints().into_iter().take(10) {
                self.complaints.push(format!("{}: {complaint}", server.name()));
            }
            match comparison {
                Ok(comparison) => {
                    compared += comparison.compared;
                    differences.extend(comparison.differences);
                    families.insert(server.name().to_owned(), comparison.families);
                }
                Err(why) => self.complaints.push(why),
            }
        }
        match self.check_witnessed(&mut truth) {
            Ok((more, found)) => {
                compared += more;
                differences.extend(found);
            }
            Err(why) => self.complaints.push(why),
        }
        self.what_was_lost(&mut truth);
        self.look_into_logs()?;
        let usage = self.usage();
        let sum = |ways: &mut dyn Iterator<Item = &Hop>| {
            ways.fold(Figures::default(), |all, way| all.plus(way.figures()))
        };
        let to_brokers = sum(&mut self.brokers.iter().map(|broker| &broker.way));
        let from_brokers = sum(&mut self.workers.iter().flat_map(|worker| &worker.ways));
        self.check_effects(to_brokers.plus(from_brokers));
        self.check_counts(to_brokers, from_brokers, audit.as_ref().ok());
        if !differences.is_empty() || !self.complaints.is_empty() {
            self.keep_states()?;
        }
        let more_differences = differences.len().saturating_sub(TOLD);
        differences.truncate(TOLD);
        let planned = plan.events.len() as u64;
        let made: u64 = self.faults.values().sum();
        if made < planned {
            self.left_out.push(format!("{} events, whose targets were busy or not there", planned - made));
        }
        Ok(Report {
            seed: self.settings.seed,
            seconds: self.settings.length.as_secs_f64(),
            brokers: plan.brokers,
            workers: self.workers.iter().map(|worker| worker.part.name.clone()).collect(),
            left_out: std::mem::take(&mut self.left_out),
            schedule: plan.events,
            faults: std::mem::take(&mut self.faults),
            to_brokers,
            from_brokers,
            audit: audit.ok(),
            has_keys: self.settings.keys,
            refused: self.told.refused(),
            gaps: self.told.gaps(),
            frames_in: self.told.sum("frames_in"),
            lives: truth.lives,
            acknowledged: truth.acknowledged,
            spilled: truth.spilled,
            batches: truth.batches,
            cut: truth.cut,
            families,
            compared,
            differences,
            more_differences,
            complaints: std::mem::take(&mut self.complaints),
            usage,
            settled_after,
            directory: Some(self.settings.directory.clone()),
        })
    }

    /// The program `zibrato` with keys that may do everything.
    fn observer(&self) -> Command {
        let mut command = crate::part::clean(&self.settings.zibrato);
        if let Some(keys) = &self.keys {
            keys.borrow().give(&mut command, OBSERVER);
        }
        command
    }

    /// What the shipped audit says of the quiet fleet.
    fn audit(&self) -> Result<Audit, String> {
        let brokers: Vec<String> =
            self.brokers.iter().map(|place| format!("tcp://127.0.0.1:{}", place.port)).collect();
        let names: Vec<&str> = self.servers.iter().map(|server| lock(server).name()).collect();
        Audit::of(self.observer(), &brokers.join(","), &self.workers, &names)
    }

    /// What workers have not settled of lives that were cut off, though brokers were seen to have it.
    fn check_witnessed(&self, truth: &mut Truth) -> Result<(usize, Vec<Difference>), String> {
        let (mut compared, mut differences) = (0, Vec::new());
        let not_well = |targets: &[Target], late: u64| -> Vec<Trouble> {
            let of = self.recorded.iter().filter(|r| targets.contains(&r.target) && r.fault != Fault::Step);
            of.map(|r| Trouble { end: r.trouble.end.saturating_add(late), ..r.trouble }).collect()
        };
        let logs: Vec<Log> = self.brokers.iter().map(|place| place.way.log()).collect();
        for (server, name) in self.servers.iter().map(|server| lock(server).name()).enumerate() {
            let mut all = Settled::default();
            let of_server = || self.workers.iter().enumerate().filter(|(_, worker)| worker.server == server);
            for (_, worker) in of_server() {
                add_settled(&mut all, &worker.state)?;
            }
            let ranges: Vec<_> = truth.cut.iter().map(|cut| truth.alone(&cut.source)).collect();
            for (cut, range) in truth.cut.iter_mut().zip(ranges) {
                let Some(range) = range else { continue };
                let least = |broker: usize, log: &Log| {
                    let log = log.get(&cut.source)?;
                    let ways = of_server().flat_map(|(worker, _)| {
                        [Target::Worker(worker), Target::WayFromBroker { worker, broker }]
                    });
                    let deaths: Vec<u64> = self.deaths(broker).collect();
                    let broker = not_well(&[Target::Broker(broker)], 0);
                    let worker = not_well(&ways.collect::<Vec<_>>(), RECOVERY);
                    Some(witness::settled(log, &broker, &worker, &deaths))
                };
                let least = logs.iter().enumerate().filter_map(|(broker, log)| least(broker, log)).max();
                let Some(least) = least.and_then(|batches| i64::try_from(batches).ok()) else { continue };
                let seen = least.unsigned_abs();
                cut.witnessed = Some(cut.witnessed.map_or(seen, |other| other.min(seen)));
                let key = (cut.source.clone(), LEVEL.into(), NAME.into(), None, Figure::Value);
                let found = steps_of(NAME, Figure::Value, all.totals.get(&key).copied().unwrap_or(0.0));
                compared += 1;
                if found.is_none_or(|found| found < least * 2) {
                    let what = format!("{} {NAME} {LEVEL}, of which a broker was handed that", cut.source);
                    let (at, worker, wanted) = ("settled", name.to_owned(), (least * 2, range.high));
                    differences.push(Difference { worker, at, what, wanted, found, step: 1.0 });
                }
            }
        }
        Ok((compared, differences))
    }

    /// When a broker died, from a moment before.
    fn deaths(&self, broker: usize) -> impl Iterator<Item = u64> {
        let died = move |r: &&Recorded| {
            r.target == Target::Broker(broker) && matches!(r.fault, Fault::Kill | Fault::ReadOnly)
        };
        self.recorded.iter().filter(died).map(|r| r.trouble.begin)
    }

    /// Finds out what those have lost that were cut off, as the first worker has settled it.
    fn what_was_lost(&mut self, truth: &mut Truth) {
        let mut settled = Settled::default();
        if add_settled(&mut settled, &self.workers[0].state).is_err() {
            return;
        }
        for cut in &mut truth.cut {
            let key = (cut.source.clone(), "error".into(), "chaos.both".into(), None, Figure::Value);
            // Others under the same source make it unknowable.
            if !cut.source.starts_with("mortal") && !cut.source.starts_with("aborts") {
                continue;
            }
            let value = settled.totals.get(&key).copied().unwrap_or(0.0);
            let arrived = steps_of("chaos.both", Figure::Value, value).unwrap_or(0).unsigned_abs() / 2;
            cut.arrived = Some(arrived);
            let first = cut.done.get(arrived as usize);
            cut.lost_seconds = first.map_or(0.0, |done| cut.over.saturating_sub(*done) as f64 / 1e9);
        }
    }

    /// Copies state directories from disks that are in memory.
    fn keep_states(&self) -> io::Result<()> {
        let kept = self.settings.directory.join("states");
        let workers = self.workers.iter().map(|place| (&place.part.name, &place.state));
        for (name, state) in workers.chain(self.brokers.iter().map(|place| (&place.part.name, &place.state)))
        {
            let to = kept.join(name);
            std::fs::create_dir_all(&to)?;
            for file in std::fs::read_dir(state)? {
                let file = file?;
                if file.file_type()?.is_file() {
                    std::fs::copy(file.path(), to.join(file.file_name()))?;
                }
            }
        }
        Ok(())
    }

    fn look_into_logs(&mut self) -> io::Result<()> {
        for log in std::fs::read_dir(self.settings.directory.join("logs"))? {
            let path = log?.path();
            let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
            if let Some(line) = text.lines().find(|line| line.contains("panicked at")) {
                self.complaints.push(format!("{}: {line}", path.display()));
            }
        }
        for worker in &self.workers {
            let dead = worker.state.join("dead-letters.jsonl");
            if let Ok(text) = std::fs::read_to_string(dead)
                && let Some(first) = text.lines().next()
            {
                let count = text.lines().count();
                self.complaints
                    .push(format!("{}: {count} dead letters, the first: {first}", worker.part.name));
            }
        }
        Ok(())
    }

    fn usage(&self) -> BTreeMap<String, crate::part::Usage> {
        let brokers = self.brokers.iter().map(|place| &place.part);
        let parts = brokers.chain(self.workers.iter().map(|place| &place.part));
        let mut usage: BTreeMap<_, _> = parts.map(|part| (part.name.clone(), part.usage())).collect();
        let all = self.applications.iter().map(|place| place.part.usage()).reduce(|mut all, one| {
            all.cpu_seconds += one.cpu_seconds;
            all.starts += one.starts;
            all.peak_rss_kib = all.peak_rss_kib.max(one.peak_rss_kib);
            all
        });
        usage.extend(all.map(|all| ("applications together".into(), all)));
        usage
    }
}

/// How many workers share the load of a server.
fn shards_of(server: &dyn Server) -> usize {
    if server.name() == "influx" { 2 } else { 1 }
}

/// What was sent so long before a fault may have been lost with it.
fn before(fault: Fault) -> u64 {
    if matches!(fault, Fault::Kill | Fault::ReadOnly | Fault::HalfOpen | Fault::Reset) { BEFORE } else { 0 }
}

fn weather(fault: Fault, calm: Weather, random: &mut Random) -> Weather {
    let mut share = |low: u64, high: u64| random.within(low, high) as f64 / 100.0;
    let (drop, duplicate, reorder) = (share(5, 70), share(5, 70), share(10, 70));
    let (delay, latest) = (random.millis(50, 1_500), random.millis(200, 3_000));
    match fault {
        Fault::Drop => Weather { drop, ..calm },
        Fault::Duplicate => Weather { duplicate, latest, ..calm },
        Fault::Delay => Weather { delay, ..calm },
        Fault::Reorder => Weather { reorder, latest, ..calm },
        Fault::Mix => Weather { drop: drop / 2.0, duplicate, delay: delay / 4, reorder, latest, ..calm },
        Fault::Refuse => Weather { refuse: true, ..calm },
        Fault::Reset => Weather { resets: calm.resets + 1, ..calm },
        _ => Weather { hang: true, ..calm },
    }
}

/// The first of so many ports in a row that nobody listens on, below those of outgoing connections.
pub(crate) fn free_ports(count: u16) -> io::Result<u16> {
    use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let spread = std::process::id() as u16 % 100 * 80;
    for _ in 0..1_000 {
        let first = 10_000 + (spread + NEXT.fetch_add(count, Relaxed)) % 9_990;
        let ports: Result<Vec<_>, _> =
            (first..first + count).map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port))).collect();
        if ports.is_ok() {
            return Ok(first);
        }
    }
    Err(io::Error::other("there are no free ports"))
}

/// The events of a run with these settings, where everything is installed.
pub fn planned(settings: &Settings) -> Plan {
    let mut random = Random::new(settings.seed, "fleet");
    let brokers = settings.brokers.unwrap_or_else(|| 1 + usize::from(random.chance(0.5)));
    let workers = [
        ("json", 0, ServerFaults::None),
        ("librato", 1, ServerFaults::Misbehaves),
        ("influx-1", 2, ServerFaults::Dies),
        ("influx-2", 2, ServerFaults::Dies),
        ("prometheus", 3, ServerFaults::Dies),
        ("graphite", 4, ServerFaults::Stops),
    ];
    let names: Vec<String> = workers.iter().map(|(name, ..)| (*name).into()).collect();
    let shapes = workers.iter().map(|(_, server, faults)| (*server, *faults)).collect();
    plan(settings, &shape_of(shapes, &names, brokers, settings))
}
