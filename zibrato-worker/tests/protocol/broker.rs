//! Brokers: the real memory and the real disk, with what the tasks of the broker do in between written out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tempfile::TempDir;
use zibrato_broker::keep::{Effect, Handed, Keep, Limits, Taken};
use zibrato_broker::testing::Disk;
use zibrato_core::ask::Message;
use zibrato_core::frame::{Flags, Frame, InstanceId, decode, decode_head};
use zibrato_core::level::{of_topic, topic};

use crate::directory;
use crate::net::{Net, Packet, Peer, SECOND, app_of, clock};
use crate::plan::Plan;
use crate::random::Random;

/// Whose acknowledgement waits for the disk.
struct Waiting {
    version: u64,
    sequence: u64,
    to: Peer,
}

struct Up {
    keep: Keep,
    disk: Disk,
    boot: [u8; 16],
    /// What the next transaction writes.
    effects: Vec<Effect>,
    waiting: HashMap<(InstanceId, Arc<str>), Vec<Waiting>>,
}

/// What a life of a broker has received of a level of an application.
#[derive(Default)]
pub(crate) struct Heard {
    /// The newest sequence of a row: of a name born at a time.
    rows: BTreeMap<(String, u64), u64>,
    /// By sequence, the set that it is based on, and which of how many parts have come.
    sets: BTreeMap<u64, (u64, u32, BTreeSet<u32>)>,
}

impl Heard {
    fn add(&mut self, frame: &Frame) {
        let head = &frame.head;
        for row in &frame.rows {
            let sequence = self.rows.entry((row.key.name.to_string(), row.key.born)).or_default();
            *sequence = (*sequence).max(head.sequence);
        }
        if !head.flags.has(Flags::RETIRED) {
            let set = self.sets.entry(head.sequence).or_insert((head.base, head.parts, BTreeSet::new()));
            set.2.insert(head.part);
        }
    }

    /// The newest sequence by which a metric is known, 0 where it is not.
    pub(crate) fn newest(&self, name: &str, born: u64) -> u64 {
        self.rows.get(&(name.to_string(), born)).copied().unwrap_or(0)
    }

    /// The newest set that together with its complete set tells everything, 0 where there is none.
    pub(crate) fn newest_whole(&self) -> u64 {
        let whole = |sequence: &u64| self.sets.get(sequence).is_some_and(|s| s.2.len() as u32 == s.1);
        let mut sets = self.sets.iter().rev().filter(|(sequence, set)| whole(sequence) && whole(&set.0));
        sets.next().map_or(0, |(sequence, _)| *sequence)
    }
}

pub(crate) struct Broker {
    pub(crate) index: usize,
    /// What this life has received, by application and level.
    pub(crate) heard: HashMap<(usize, String), Heard>,
    /// Whose totals were ever forgotten.
    pub(crate) evicted: BTreeSet<(usize, String)>,
    directory: TempDir,
    up: Option<Up>,
    wake: u64,
    lives: u64,
    skew: i64,
    kill: f64,
    horizon: u64,
    slots: usize,
    random: Random,
}

impl Broker {
    pub(crate) fn new(index: usize, plan: &Plan) -> Broker {
        let mut random = Random::new(("broker", plan.seed, index));
        Broker {
            index,
            heard: HashMap::new(),
            evicted: BTreeSet::new(),
            directory: directory(),
            up: None,
            wake: 0,
            lives: 0,
            skew: random.between(-plan.skew, plan.skew),
            kill: plan.broker_kill,
            horizon: plan.retention * SECOND,
            slots: plan.slots,
            random,
        }
    }

    fn start(&mut self, now: u64) {
        self.lives += 1;
        let boot = Random::new(("boot", self.index, self.lives)).next().to_be_bytes();
        let boot = [boot, boot].concat().try_into().unwrap();
        let mut keep =
            Keep::new(boot, Limits { horizon: self.horizon, slots: self.slots, ..Limits::default() });
        let disk = Disk::open(self.directory.path(), &mut keep, clock(now, self.skew)).unwrap();
        self.up = Some(Up { keep, disk, boot, effects: Vec::new(), waiting: HashMap::new() });
    }

    fn say(&self, net: &mut Net, what: &str) {
        net.log(|| format!("broker{}", self.index), || what.to_string(), None);
    }

    /// Everything that no transaction has written is gone.
    pub(crate) fn die(&mut self, net: &mut Net, down: u64, why: &str) {
        self.say(net, &format!("kill -9 {why}"));
        self.up = None;
        self.heard.clear();
        self.wake = net.now + down;
    }

    /// A clean stop writes down everything.
    fn stop(&mut self, net: &mut Net) {
        let Some(up) = &mut self.up else { return };
        let mut effects = std::mem::take(&mut up.effects);
        effects.extend(up.keep.unstored().into_iter().map(Effect::Write));
        up.disk.write(effects).unwrap();
        let heard = std::mem::take(&mut self.heard);
        self.die(net, 2, "after everything was written: it stops");
        self.heard = heard;
    }

    fn may_die(&mut self, net: &mut Net, times: f64, why: &str) -> bool {
        let dies = net.faults() && self.random.chance(self.kill * times);
        if dies {
            let down = self.random.pick(&[1, 2, 15]);
            self.die(net, down, why);
        }
        dies
    }

    pub(crate) fn tick(&mut self, net: &mut Net) {
        if self.up.is_none() {
            if net.now >= self.wake || !net.faults() {
                self.start(net.now);
                self.say(net, "starts");
            }
            return;
        }
        if self.may_die(net, 1.0, "") {
            return;
        }
        if net.faults() && self.random.chance(self.kill / 4.0) {
            return self.stop(net);
        }
        let now = clock(net.now, self.skew);
        let Some(up) = &mut self.up else { return };
        for effect in up.keep.tick(now, 1000) {
            if let Effect::Forget(tombstone) = &effect {
                let key = (app_of(tombstone.instance), tombstone.level.to_string());
                self.heard.remove(&key);
                self.evicted.insert(key);
            }
            up.effects.push(effect);
        }
        if up.effects.is_empty() {
            return;
        }
        if self.may_die(net, 2.0, "before a transaction") {
            return;
        }
        let Some(up) = &mut self.up else { return };
        let written = up.disk.write(std::mem::take(&mut up.effects)).unwrap();
        if self.may_die(net, 2.0, "after a transaction") {
            return;
        }
        let Some(up) = &mut self.up else { return };
        let mut acknowledge = Vec::new();
        for (instance, level, version) in written {
            up.keep.stored(instance, &level, version, true);
            let Some(waiting) = up.waiting.get_mut(&(instance, level.clone())) else { continue };
            waiting.retain(|w| {
                let stored = w.version <= version;
                if stored {
                    acknowledge.push((w.to, instance, level.clone(), w.sequence));
                }
                !stored
            });
        }
        for (to, instance, level, sequence) in acknowledge {
            self.acknowledge(net, to, instance, &level, sequence);
        }
    }

    pub(crate) fn beat(&self, net: &mut Net) {
        let Some(up) = &self.up else { return };
        let workers: Vec<_> = net.subscribers.values().map(|(life, _)| *life).collect();
        for to in workers {
            net.send(Packet::Beat { to, broker: self.index, boot: up.boot });
        }
    }

    fn acknowledge(&self, net: &mut Net, to: Peer, instance: InstanceId, level: &str, sequence: u64) {
        let parts = Message::Ack { instance, level: level.into(), sequence }.encode();
        net.log(
            || format!("broker{}", self.index),
            || format!("acknowledges app{}/{level} set {sequence}", app_of(instance)),
            Some(app_of(instance)),
        );
        net.send(Packet::Answered { to, broker: self.index, parts });
    }

    /// Keeps a frame and passes it on; false if it is refused.
    fn take(&mut self, net: &mut Net, topic: &[u8], frame: &[u8]) -> bool {
        let Some(up) = &mut self.up else { return false };
        let level = of_topic(topic).unwrap();
        let decoded = decode(frame).unwrap();
        assert!(decoded.skipped.is_empty());
        let head = decode_head(frame).unwrap();
        if up.keep.take(level, &head, frame, clock(net.now, self.skew)) == Taken::Forgotten {
            return false;
        }
        let heard = self.heard.entry((app_of(head.instance), level.into())).or_default();
        heard.add(&decoded.frame);
        let listeners: Vec<_> = net
            .subscribers
            .values()
            .filter(|(_, levels)| levels.topics().iter().any(|t| topic.starts_with(t.as_bytes())))
            .map(|(life, _)| *life)
            .collect();
        for to in listeners {
            let (topic, frame) = (topic.to_vec(), frame.to_vec());
            net.send(Packet::Published { to, broker: self.index, topic, frame });
        }
        true
    }

    pub(crate) fn on_push(&mut self, net: &mut Net, topic: &[u8], frame: &[u8]) {
        self.take(net, topic, frame);
    }

    pub(crate) fn on_asked(&mut self, net: &mut Net, from: Peer, parts: &[Vec<u8>]) {
        if self.up.is_none() {
            return;
        }
        match Message::decode(parts).unwrap() {
            Message::Hand { topic, frame } => self.hand(net, from, &topic, &frame),
            Message::Ask { id, levels, cursor, talking } => {
                let now = clock(net.now, self.skew);
                let Some(up) = &mut self.up else { return };
                let (kept, cursor) = up.keep.answer(&levels, cursor, talking);
                let count = kept.len() as u64;
                let mut messages = Vec::new();
                for (index, kept) in (0..).zip(kept) {
                    let held = now.saturating_sub(kept.received);
                    let (topic, frame) = (topic(&kept.level).into_bytes(), kept.frame.to_vec());
                    messages.push(Message::Kept { id, index, held, topic, frame });
                }
                messages.push(Message::Done { id, count, cursor });
                for message in messages {
                    let parts = message.encode();
                    net.send(Packet::Answered { to: from, broker: self.index, parts });
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn hand(&mut self, net: &mut Net, from: Peer, topic: &[u8], frame: &[u8]) {
        if !self.take(net, topic, frame) {
            let why = "forgotten".to_string();
            let parts = Message::Refused { why }.encode();
            return net.send(Packet::Answered { to: from, broker: self.index, parts });
        }
        let Some(up) = &mut self.up else { return };
        let (level, head) = (of_topic(topic).unwrap(), decode_head(frame).unwrap());
        let version = match up.keep.handed(head.instance, level, head.sequence) {
            Handed::Partial => return,
            Handed::Stored => return self.acknowledge(net, from, head.instance, level, head.sequence),
            Handed::Pending(version) => version,
            Handed::Write(record) => {
                let version = record.version;
                up.effects.push(Effect::Write(record));
                version
            }
        };
        let waiting = Waiting { version, sequence: head.sequence, to: from };
        up.waiting.entry((head.instance, level.into())).or_default().push(waiting);
    }

    /// What no world may make a broker count.
    pub(crate) fn conflicts(&self) -> u64 {
        self.up.as_ref().map_or(0, |up| up.keep.counts().conflicts)
    }
}
