//! The world: everything together, tick by tick.

use tokio::runtime::Runtime;

use crate::app::App;
use crate::backend::Next;
use crate::broker::Broker;
use crate::judge::{Violation, judge};
use crate::net::{Line, Net, Packet, Peer};
use crate::plan::{ACTIVE, Event, Plan};
use crate::worker::Group;

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) net: Net,
    pub(crate) apps: Vec<App>,
    pub(crate) brokers: Vec<Broker>,
    pub(crate) groups: Vec<Group>,
    runtime: Runtime,
}

impl World {
    pub(crate) fn new(plan: Plan, trace: bool) -> World {
        World {
            net: Net::new(plan.clone(), trace),
            apps: (0..plan.apps.len()).map(|i| App::new(i, &plan)).collect(),
            brokers: (0..plan.brokers).map(|i| Broker::new(i, &plan)).collect(),
            groups: (0..plan.groups.len()).map(|i| Group::new(i, &plan)).collect(),
            runtime: tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap(),
            plan,
        }
    }

    /// Runs to the end, with one more restart of every worker in the quiet, and judges before and after it.
    pub(crate) fn run(&mut self) -> Vec<Violation> {
        let end = ACTIVE + self.plan.quiet;
        let restart = end - 30;
        let mut before = Vec::new();
        for now in 0..end {
            self.net.now = now;
            if now == ACTIVE {
                self.net.log(|| "net".into(), || "the faults end".into(), None);
            }
            if now == restart {
                before = judge(self);
                for worker in self.groups.iter_mut().flat_map(|g| &mut g.workers) {
                    worker.die(&mut self.net, 1, "once more, in the quiet");
                }
            }
            self.tick();
        }
        if before.is_empty() { judge(self) } else { before }
    }

    fn tick(&mut self) {
        for packet in self.net.arrivals() {
            self.deliver(packet);
        }
        let now = self.net.now;
        let mut retire = vec![Vec::new(); self.apps.len()];
        let script: Vec<Event> =
            self.plan.script.iter().filter(|(at, _)| *at == now).map(|(_, event)| event.clone()).collect();
        for event in &script {
            match *event {
                Event::Retire { app, level, metric } => retire[app].push((level, metric)),
                Event::KillBroker { broker, down } => {
                    self.brokers[broker].die(&mut self.net, down, "as scripted")
                }
                Event::KillWorker { group, down } => {
                    for worker in &mut self.groups[group].workers {
                        worker.die(&mut self.net, down, "as scripted");
                    }
                }
                Event::Step { group, by } => {
                    self.groups[group].workers.iter_mut().for_each(|worker| worker.step = by);
                }
                Event::KillSender { group, after } => {
                    let next = if after { Next::KillAfter } else { Next::KillBefore };
                    self.groups[group].workers.iter_mut().for_each(|worker| worker.script.push(next));
                }
                Event::Backend { group, act } => {
                    self.groups[group].workers.iter_mut().for_each(|w| w.script.push(Next::Act(act)));
                }
                Event::Count { .. } => {}
            }
        }
        for app in &mut self.apps {
            for event in &script {
                if let Event::Count { app: of, level, metric, n } = event
                    && *of == app.index
                {
                    app.wake(&mut self.net);
                    app.count(now, level, metric, *n);
                }
            }
            app.tick(&mut self.net, &retire[app.index]);
        }
        for broker in &mut self.brokers {
            broker.tick(&mut self.net);
            broker.beat(&mut self.net);
        }
        for worker in self.groups.iter_mut().flat_map(|g| &mut g.workers) {
            worker.tick(&mut self.net, &self.runtime);
        }
    }

    fn deliver(&mut self, packet: Packet) {
        if self.net.trace.is_some() && !matches!(packet, Packet::Beat { .. }) {
            let (what, app) = crate::net::describe(&packet);
            self.net.log(|| "net".into(), || what.clone(), app);
        }
        let net = &mut self.net;
        // What is for a worker's earlier life has nobody to take it: the connection is gone.
        let worker = |groups: &'_ mut Vec<Group>, to: crate::net::Life| {
            let worker = &mut groups[to.group].workers[to.index];
            (worker.me == to).then_some(to)
        };
        match packet {
            Packet::Push { broker, topic, frame } => self.brokers[broker].on_push(net, &topic, &frame),
            Packet::Asked { broker, from, parts } => self.brokers[broker].on_asked(net, from, &parts),
            Packet::Published { to, topic, frame, .. } => {
                if let Some(to) = worker(&mut self.groups, to) {
                    self.groups[to.group].workers[to.index].on_frame(net, &topic, &frame, 0);
                }
            }
            Packet::Beat { to, broker, boot } => {
                if let Some(to) = worker(&mut self.groups, to) {
                    self.groups[to.group].workers[to.index].on_beat(net, broker, boot);
                }
            }
            Packet::Answered { to: Peer::App(app), broker, parts } => {
                self.apps[app].on_answer(broker, &parts)
            }
            Packet::Answered { to: Peer::Worker(to), broker, parts } => {
                if let Some(to) = worker(&mut self.groups, to) {
                    self.groups[to.group].workers[to.index].on_answer(net, broker, &parts);
                }
            }
        }
    }
}

/// Runs a plan; what is wrong, with the events that matter.
pub(crate) fn run(plan: &Plan) -> Result<(), String> {
    let violations = World::new(plan.clone(), false).run();
    let Some(first) = violations.first() else { return Ok(()) };
    let mut again = World::new(plan.clone(), true);
    let repeated = again.run();
    let lines = again.net.trace.take().unwrap_or_default();
    let relevant = |line: &&Line| line.3.is_none() || line.3 == first.app;
    let lines: Vec<String> = lines
        .iter()
        .filter(relevant)
        .map(|(now, who, what, _)| format!("{now:4} {who:<10} {what}"))
        .collect();
    let mut text = lines.join("\n");
    for violation in &violations {
        text += &format!("\n{violation}");
    }
    if repeated != violations {
        text += "\nNOT REPEATED: the trace is of another run";
    }
    Err(format!("{plan:?}\n{text}"))
}
