//! Workers: the real state directory, settler, asking and sender, with what `run` does in between written out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::runtime::Runtime;
use zibrato_core::ask::Message;
use zibrato_core::frame::decode;
use zibrato_core::ledger::{Arrival, Merged, Slacks};
use zibrato_core::level::{Levels, of_topic};
use zibrato_worker::{Asking, Backend, Outcome, Rules, Sender, Sent, Settler, Shard, State, Status};

use crate::backend::{Connection, Next, Stored};
use crate::directory;
use crate::net::{Life, Net, Packet, Peer, SECOND, app_of, clock};
use crate::plan::{Act, DEBUG, GroupPlan, INFO, NEVER, Plan, SLACK, WAY};
use crate::random::Random;

/// How often a worker settles, asks, and forgets.
const FLUSH: u64 = 3;
const ASK: u64 = 6;
const FORGET: u64 = 10;
/// A broker whose beat is missing for so long is away.
const AWAY: u64 = 3;
/// Most requests of one tick.
const REQUESTS: usize = 6;

struct Up {
    settler: Settler,
    sender: Sender<Connection>,
    asking: Asking,
    levels: Levels,
    /// Of each broker: the life that was heard last, and when.
    beats: Vec<Option<([u8; 16], u64)>>,
    next_flush: u64,
}

pub(crate) struct Worker {
    pub(crate) me: Life,
    pub(crate) shard: Shard,
    /// The tick at which it first listened to a level.
    pub(crate) since: BTreeMap<&'static str, u64>,
    /// Frames refused because they had been held for too long: whose.
    pub(crate) too_old: Vec<(usize, String)>,
    /// What started before this tick may be taken for something forgotten.
    pub(crate) forgotten: Option<u64>,
    pub(crate) wrong: Vec<String>,
    pub(crate) step: i64,
    /// What the next requests meet, where a script says.
    pub(crate) script: Vec<Next>,
    directory: TempDir,
    connection: Connection,
    up: Option<Up>,
    wake: u64,
    skew: i64,
    plan: Plan,
    group: GroupPlan,
    random: Random,
}

pub(crate) struct Group {
    pub(crate) stored: Arc<Mutex<Stored>>,
    pub(crate) workers: Vec<Worker>,
}

impl Group {
    pub(crate) fn new(group: usize, plan: &Plan) -> Group {
        let own = plan.groups[group].clone();
        let stored = Arc::<Mutex<Stored>>::default();
        let workers = (0..own.shards as usize).map(|index| {
            let mut random = Random::new(("worker", plan.seed, group, index));
            Worker {
                me: Life { group, index, life: 0 },
                shard: Shard::new(index as u32 + 1, own.shards).unwrap(),
                since: BTreeMap::new(),
                too_old: Vec::new(),
                forgotten: None,
                wrong: Vec::new(),
                step: 0,
                script: Vec::new(),
                directory: directory(),
                connection: Connection::new(stored.clone(), index, own.repeats, plan.batch_size),
                up: None,
                wake: own.start,
                skew: random.between(-plan.skew, plan.skew),
                plan: plan.clone(),
                group: own.clone(),
                random,
            }
        });
        Group { workers: workers.collect(), stored }
    }
}

impl Worker {
    fn clock(&self, now: u64) -> u64 {
        clock(now, self.skew + self.step)
    }

    pub(crate) fn levels(&self, now: u64) -> Levels {
        let both = self.group.add > 0 && now >= self.group.add;
        if both { "info,debug" } else { self.group.levels }.parse().unwrap()
    }

    fn say(&self, net: &mut Net, what: &str) {
        net.log(|| format!("worker{}.{}", self.me.group, self.me.index), || what.to_string(), None);
    }

    fn start(&mut self, net: &mut Net) {
        self.me.life += 1;
        if self.plan.steps > 0 {
            self.step = self.random.between(-self.plan.steps, self.plan.steps);
        }
        let levels = self.levels(net.now);
        for level in [INFO, DEBUG].into_iter().filter(|level| levels.contains(level)) {
            if !self.since.contains_key(level) {
                self.since.insert(level, net.now);
                self.say(net, &format!("listens to {level} for the first time"));
            }
        }
        let state = State::open(self.directory.path(), Connection::NAME, self.shard).unwrap();
        let connection = Arc::new(tokio::sync::Mutex::new(self.connection.clone()));
        let sender = Sender::new(connection, state.clone(), Arc::new(Status::default()));
        let rules = Rules {
            slacks: Slacks { clock: SLACK * SECOND, way: WAY * SECOND },
            horizon: self.plan.forget * SECOND,
            oldest: self.plan.forget * SECOND,
            outbox_limit: self.plan.outbox,
            ..Rules::default()
        };
        let settler = Settler::new(state, &levels, rules, self.clock(net.now)).unwrap();
        net.subscribers.insert((self.me.group, self.me.index), (self.me, levels.clone()));
        self.up = Some(Up {
            settler,
            sender,
            asking: Asking::new(self.plan.brokers, levels.listed(), ASK * SECOND),
            levels,
            beats: vec![None; self.plan.brokers],
            next_flush: net.now + FLUSH,
        });
        self.say(net, "starts");
    }

    /// Everything but the state directory is gone.
    pub(crate) fn die(&mut self, net: &mut Net, down: u64, why: &str) {
        self.say(net, &format!("kill -9 {why}"));
        if let Some(up) = &self.up {
            let counts = up.settler.counts();
            if counts.backwards + counts.conflicts > 0 {
                self.wrong.push(format!("{counts:?}"));
            }
        }
        self.up = None;
        net.subscribers.remove(&(self.me.group, self.me.index));
        self.wake = net.now + down;
    }

    /// A clean end settles once more, whatever the time of the last batch.
    fn end(&mut self, net: &mut Net, why: &str) {
        let now = self.clock(net.now);
        if let Some(up) = &mut self.up {
            up.settler.settle(&self.connection, now, true).unwrap();
        }
        self.die(net, 1, &format!("after a last settlement: it stops {why}"));
    }

    fn may_die(&mut self, net: &mut Net, why: &str) -> bool {
        let dies = net.faults() && self.random.chance(self.plan.worker_kill);
        if dies {
            let down = self.down();
            self.die(net, down, why);
        }
        dies
    }

    fn down(&mut self) -> u64 {
        let long: &[u64] = if self.plan.long_down { &[1, 1, 3, 45, 60] } else { &[1, 1, 3] };
        self.random.pick(long)
    }

    pub(crate) fn tick(&mut self, net: &mut Net, runtime: &Runtime) {
        self.connection.tick(net.now);
        if self.up.is_none() {
            if net.now >= self.wake && (net.now >= self.group.start) {
                self.start(net);
            }
            return;
        }
        if self.may_die(net, "") {
            return;
        }
        // Other levels are a clean restart.
        let levels = self.levels(net.now);
        if self.up.as_ref().is_some_and(|up| up.levels != levels) {
            self.end(net, "for other levels");
            self.start(net);
        } else if net.faults() && self.random.chance(self.plan.worker_kill / 4.0) {
            return self.end(net, "cleanly");
        }
        let now = self.clock(net.now);
        let Some(up) = &mut self.up else { return };
        for (broker, message) in up.asking.due(now) {
            let from = Peer::Worker(self.me);
            net.send(Packet::Asked { broker, from, parts: message.encode() });
        }
        if up.asking.is_answered(now) {
            up.settler.run(SECOND);
        }
        up.settler.first_sights().unwrap();
        if self.may_die(net, "after first sights") {
            return;
        }
        self.settle(net);
        self.deliver(net, runtime);
        self.forget(net);
    }

    fn settle(&mut self, net: &mut Net) {
        let now = self.clock(net.now);
        let Some(up) = &mut self.up else { return };
        if net.now < up.next_flush {
            return;
        }
        let outcome = up.settler.settle(&self.connection, now, false).unwrap();
        match outcome {
            // It tries again at the next tick.
            Outcome::TooEarly { .. } | Outcome::Full => {}
            _ => up.next_flush = net.now + FLUSH,
        }
        if outcome != Outcome::Nothing {
            self.say(net, &format!("settles: {outcome:?}"));
            self.may_die(net, "after settling");
        }
    }

    fn deliver(&mut self, net: &mut Net, runtime: &Runtime) {
        for _ in 0..REQUESTS {
            let Some(up) = &mut self.up else { return };
            if up.settler.state().waiting().unwrap() == 0 {
                return;
            }
            let next = match self.script.is_empty() {
                false => self.script.remove(0),
                true if net.faults() && self.random.chance(self.plan.worker_kill) => {
                    self.random.pick(&[Next::KillBefore, Next::KillAfter])
                }
                true if net.faults() && self.random.chance(self.plan.bad_backend) => {
                    let part = if self.group.repeats == crate::plan::Repeats::ByTime {
                        Act::PartThenFail
                    } else {
                        Act::Part
                    };
                    let acts = [Act::Fail, Act::LoseAnswer, part, Act::Slow, Act::RefuseOne, Act::RefuseAll];
                    Next::Act(self.random.pick(&acts))
                }
                true => Next::Act(Act::Accept),
            };
            *self.connection.next.lock().unwrap() = next;
            let killed = self.connection.killed.clone();
            let sent = runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = killed.notified() => None,
                    sent = up.sender.step() => Some(sent.unwrap()),
                }
            });
            if next != Next::Act(Act::Accept) {
                self.say(net, &format!("sends: {next:?}, {}", sent.is_some()));
            }
            match sent {
                None => {
                    let down = self.down();
                    return self.die(net, down, "while sending");
                }
                Some(Sent::Batch) => {}
                Some(_) => return,
            }
            if self.may_die(net, "after sending") {
                return;
            }
        }
    }

    fn forget(&mut self, net: &mut Net) {
        let now = self.clock(net.now);
        let Some(up) = &mut self.up else { return };
        if !net.now.is_multiple_of(FORGET) {
            return;
        }
        if up.settler.forget(now).unwrap() > 0 {
            // Whoever was forgotten had started before it was heard for the last time.
            let before = net.now.saturating_sub(self.plan.forget) + SLACK + WAY + SLACK;
            self.forgotten = self.forgotten.max(Some(before));
            self.say(net, "forgets");
        }
    }

    pub(crate) fn on_frame(&mut self, net: &mut Net, topic: &[u8], frame: &[u8], held: u64) {
        let now = self.clock(net.now);
        let Some(up) = &mut self.up else { return };
        let level = of_topic(topic).unwrap();
        if !up.levels.contains(level) {
            return;
        }
        let decoded = decode(frame).unwrap();
        assert!(decoded.skipped.is_empty());
        let app = app_of(decoded.frame.head.instance);
        let merged = up.settler.merge(level, decoded.frame, Arrival { now, held }, &self.connection);
        if merged.unwrap() == Merged::TooOld {
            assert!(self.plan.forget < NEVER);
            self.too_old.push((app, level.to_string()));
        }
    }

    pub(crate) fn on_beat(&mut self, net: &mut Net, broker: usize, boot: [u8; 16]) {
        let Some(up) = &mut self.up else { return };
        let back = up.beats[broker].is_none_or(|(known, at)| known != boot || net.now > at + AWAY);
        up.beats[broker] = Some((boot, net.now));
        if back {
            up.asking.back(broker);
        }
    }

    pub(crate) fn on_answer(&mut self, net: &mut Net, broker: usize, parts: &[Vec<u8>]) {
        let now = self.clock(net.now);
        match Message::decode(parts).unwrap() {
            Message::Kept { id, index, held, topic, frame } => {
                self.on_frame(net, &topic, &frame, held);
                if let Some(up) = &mut self.up {
                    up.asking.kept(broker, id, index, now);
                }
            }
            Message::Done { id, count, cursor } => {
                if let Some(up) = &mut self.up {
                    up.asking.done(broker, id, count, cursor, now);
                }
            }
            other => panic!("{other:?}"),
        }
    }

    /// What is wrong with it at the end.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut wrong = self.wrong.clone();
        if let Some(up) = &self.up {
            let counts = up.settler.counts();
            if counts.backwards + counts.conflicts > 0 {
                wrong.push(format!("{counts:?}"));
            }
            let waiting = up.settler.state().waiting().unwrap();
            if waiting > 0 {
                wrong.push(format!("{waiting} batches still wait"));
            }
        }
        wrong
    }
}
