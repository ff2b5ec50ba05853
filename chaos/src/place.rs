//! Where the parts of a fleet are: brokers, workers and applications, each with what is around it.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use zibrato_trial::Proxy;

use crate::clock::Wrong;
use crate::disk::Disk;
use crate::hop::Hop;
use crate::keys::Keys;
use crate::part::{Part, clean};
use crate::random::Random;
use crate::truth::Life;

/// A broker, and the way of all applications to it.
pub struct BrokerPlace {
    /// Its process.
    pub part: Part,
    /// The first of its ports.
    pub port: u16,
    /// Its state directory.
    pub state: PathBuf,
    /// The disk of that, where it may be mounted.
    pub disk: Option<Disk>,
    /// Its clock, where it can be wrong.
    pub clock: Option<Wrong>,
    /// The way to it.
    pub way: Hop,
    /// Who may come in, where it has keys.
    pub keys: Option<Rc<RefCell<Keys>>>,
}

impl BrokerPlace {
    /// What starts it.
    pub fn command(&self, zibrato: &Path) -> Command {
        let mut command = clean(zibrato);
        command.args(["broker", "--port", &self.port.to_string(), "--state"]).arg(&self.state);
        if let Some(keys) = &self.keys {
            keys.borrow().guard(&mut command);
        }
        if let Some(clock) = &self.clock {
            clock.give(&mut command);
        }
        command
    }
}

/// A worker, and its ways.
pub struct WorkerPlace {
    /// Its process.
    pub part: Part,
    /// The number of its server.
    pub server: usize,
    /// What it is started with.
    pub arguments: Vec<String>,
    /// Its state directory.
    pub state: PathBuf,
    /// The disk of that, where it may be mounted.
    pub disk: Option<Disk>,
    /// Its clock, where it can be wrong.
    pub clock: Option<Wrong>,
    /// Its way to each broker.
    pub ways: Vec<Hop>,
    /// Its way to its server, where that is no file.
    pub way_to_server: Option<Proxy>,
    /// The keys, where its brokers have some.
    pub keys: Option<Rc<RefCell<Keys>>>,
}

impl WorkerPlace {
    /// What starts it.
    pub fn command(&self, zibrato: &Path) -> Command {
        let mut command = clean(zibrato);
        let brokers: Vec<String> = self.ways.iter().map(Hop::url).collect();
        command.args(&self.arguments).args(["--broker", &brokers.join(","), "--flush", "0.7", "--state"]);
        command.arg(&self.state);
        // The passwords of servers that nobody but this run can reach.
        command.env("LIBRATO_TOKEN", "tok").env("INFLUX_PASSWORD", zibrato_trial::Influx::PASSWORD);
        if let Some(keys) = &self.keys {
            keys.borrow().give(&mut command, &self.part.name);
        }
        if let Some(clock) = &self.clock {
            clock.give(&mut command);
        }
        command
    }
}

/// What an application is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// It runs until the end.
    Steady,
    /// It ends after a while, and is started again.
    Again,
    /// It is killed by the schedule.
    Mortal,
    /// It aborts after a while.
    Aborts,
    /// It lives for milliseconds, again and again.
    Brief,
    /// It forks.
    Forks,
}

/// An application's place, in which one process after the other lives.
pub struct ApplicationPlace {
    /// Its number.
    pub number: usize,
    /// What it is like.
    pub habit: Habit,
    /// Its process.
    pub part: Part,
    /// Its clock, where it can be wrong.
    pub clock: Option<Wrong>,
    /// Which of the run's lives is the present one.
    pub life: Option<usize>,
    random: Random,
    lives: u64,
}

/// What all applications are started with.
pub struct Surroundings<'a> {
    /// The program that they are.
    pub program: &'a Path,
    /// Where ledgers and spilled totals are.
    pub directory: &'a Path,
    /// The brokers.
    pub brokers: &'a str,
    /// The keys, where the brokers have some.
    pub keys: Option<&'a Keys>,
}

impl ApplicationPlace {
    /// An empty place.
    pub fn new(number: usize, logs: &Path, seed: u64, clock: Option<Wrong>) -> ApplicationPlace {
        let habit = habit(number);
        let name = name(number);
        let part = Part::new(&name, logs);
        let random = Random::new(seed, &name);
        ApplicationPlace { number, habit, part, clock, life: None, random, lives: 0 }
    }

    /// The next life, and what starts it.
    pub fn next(&mut self, around: &Surroundings<'_>) -> (Life, Command) {
        self.lives += 1;
        let random = &mut self.random;
        let seed = random.next();
        // Of those that are killed it is to be told apart what each life has lost.
        let source = match self.habit {
            Habit::Mortal | Habit::Aborts => format!("{}-{}", self.part.name, self.lives),
            _ => self.part.name.clone(),
        };
        let interval = Duration::from_millis(match self.number % 4 {
            0 => 200,
            1 => 1_000,
            _ => 500,
        });
        let spills = !matches!(self.number, 1 | 8);
        let many = self.number == 0;
        let ledger =
            around.directory.join("ledgers").join(format!("{}-{}.ledger", self.part.name, self.lives));
        let mut command = clean(around.program);
        command
            .args(["application", "--seed", &seed.to_string(), "--ledger"])
            .arg(&ledger)
            .env("ZIBRATO_BROKER", around.brokers)
            .env("ZIBRATO_SOURCE", &source)
            .env("ZIBRATO_INTERVAL", interval.as_secs_f64().to_string())
            .env("ZIBRATO_DEADLINE", if spills { "3" } else { "30" })
            .stdin(Stdio::piped());
        if spills {
            command.env("ZIBRATO_SPILL", spill_directory(around.directory, &self.part.name));
        }
        if let Some(keys) = around.keys {
            keys.give(&mut command, &self.part.name);
        }
        if matches!(self.number, 2 | 9) {
            command.env("ZIBRATO_IDLE", "1");
        }
        if many {
            command.arg("--many");
        }
        let mut more = |option: &str, value: u64| {
            command.args([option, &value.to_string()]);
        };
        match self.habit {
            Habit::Steady | Habit::Mortal => more("--rest", 100),
            Habit::Again => more("--batches", random.within(10, 80)),
            Habit::Aborts => more("--abort-after", random.within(20, 200)),
            Habit::Forks => {
                more("--fork-every", random.within(10, 30));
                more("--rest", 100);
            }
            Habit::Brief => {
                more("--batches", random.within(1, 3));
                more("--rest", random.within(0, 5));
            }
        }
        if let Some(clock) = &self.clock {
            clock.give(&mut command);
        }
        let (place, is_off) = (self.number, self.clock.is_some());
        let life = Life { place, source, seed, many, spills, interval, is_off, ledger, killed: None };
        (life, command)
    }

    /// How long the place stays empty.
    pub fn rest(&mut self) -> Duration {
        match self.habit {
            Habit::Again => self.random.millis(0, 300),
            Habit::Brief => self.random.millis(200, 1_500),
            _ => self.random.millis(0, 2_000),
        }
    }
}

/// What the application of a place is called.
pub fn name(number: usize) -> String {
    format!("{:?}-{number}", habit(number)).to_lowercase()
}

/// Where an application leaves what no broker has acknowledged.
pub fn spill_directory(directory: &Path, name: &str) -> PathBuf {
    directory.join("spilled").join(name)
}

/// What the application of a place is like: of twenty, seven run on, four end, three are killed, two each abort, fork and
/// are brief.
pub fn habit(number: usize) -> Habit {
    match number % 20 {
        0..=6 => Habit::Steady,
        7..=10 => Habit::Again,
        11..=13 => Habit::Mortal,
        14 | 15 => Habit::Aborts,
        16 | 17 => Habit::Brief,
        _ => Habit::Forks,
    }
}
