//! A broker, and programs that measure what is known.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::{Handle, Runtime};
use tokio::sync::oneshot;
use zibrato_broker::{Broker, Config};
use zibrato_core::frame::{
    Flags, Gauge, Head, InstanceId, Key, Kind, Row, Spread, State, Tags, Total, encode_set,
};
use zibrato_core::histogram::Histogram;
use zibrato_core::limits;
use zibrato_transport::Push;

use crate::until::until;

/// The source that most tests need.
pub const SOURCE: &str = "web1";
const TOPIC: &str = "info|";

/// A broker on loopback, in this process, and what instances that were started here have measured.
pub struct Traffic {
    address: String,
    totals: Arc<Mutex<Totals>>,
    stop: Option<oneshot::Sender<()>>,
    runtime: Option<Runtime>,
}

/// What all instances together have measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Totals {
    /// Totals of counters, by name and tags.
    pub counters: BTreeMap<(String, Vec<(String, String)>), i64>,
    /// The total of the updown counter `trial.users`.
    pub users: i64,
    /// The last value of the gauge `trial.temperature`.
    pub temperature: f64,
    /// All values of the timer `trial.latency`, in nanoseconds.
    pub latencies: Vec<u64>,
    /// All values of the distribution `trial.sizes`: multiples of 0.25, at least 0, whose sums are exact as floats.
    pub sizes: Vec<f64>,
}

impl Totals {
    /// The total of a counter over all its tags, 0 where it has not been counted.
    pub fn counter(&self, name: &str) -> i64 {
        self.counters.iter().filter(|((own, _), _)| own == name).map(|(_, total)| total).sum()
    }

    /// The total of `trial.requests`, which has no tags.
    pub fn requests(&self) -> i64 {
        self.counter("trial.requests")
    }

    /// The total of `trial.hits`, which has the tags `code=200` and `method=GET`.
    pub fn hits(&self) -> i64 {
        self.counter("trial.hits")
    }

    /// The sum of `trial.latency` in nanoseconds.
    pub fn latency_sum(&self) -> u64 {
        self.latencies.iter().sum()
    }

    /// The sum of `trial.sizes`.
    pub fn size_sum(&self) -> f64 {
        self.sizes.iter().sum()
    }

    /// The true quantile of `trial.latency`, in nanoseconds: the value at rank ⌈q·n⌉.
    pub fn latency_quantile(&self, q: f64) -> f64 {
        quantile(self.latencies.iter().map(|&value| value as f64).collect(), q)
    }

    /// The true quantile of `trial.sizes`: the value at rank ⌈q·n⌉.
    pub fn size_quantile(&self, q: f64) -> f64 {
        quantile(self.sizes.clone(), q)
    }
}

fn quantile(mut values: Vec<f64>, q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (q * values.len() as f64).ceil() as usize;
    values[rank.clamp(1, values.len()) - 1]
}

impl Traffic {
    /// Starts the broker, on free ports.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start() -> Traffic {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        // On a thread of its own, because the caller's may belong to a runtime.
        runtime.spawn(async move {
            let config = Config { port: 0, head_start: Duration::ZERO, ..Config::default() };
            let broker = Broker::bind(config).await.unwrap();
            tell.send(broker.addresses().port).unwrap();
            broker.run(async move { drop(stopped.await) }).await.unwrap();
        });
        let port = told.recv().unwrap();
        Traffic {
            address: format!("tcp://127.0.0.1:{port}"),
            totals: Arc::default(),
            stop: Some(stop),
            runtime: Some(runtime),
        }
    }

    /// The broker's address, for `--broker`.
    pub fn broker(&self) -> &str {
        &self.address
    }

    /// Starts a program that measures, under a source; there may be several of one source.
    pub fn instance(&self, source: &str) -> Instance {
        let handle = self.runtime.as_ref().unwrap().handle().clone();
        Instance::start(handle, &self.address, source, self.totals.clone())
    }

    /// What all instances have measured up to now, whether published or not; probes excepted.
    pub fn totals(&self) -> Totals {
        self.totals.lock().unwrap().clone()
    }

    /// Publishes the counter `trial.probe` of source `probe` again and again until the answer is there, and gives it.
    ///
    /// A worker without a state directory of before counts from where it first hears of an instance: when it has
    /// delivered the probe it is there, and counts instances that begin then in full.
    ///
    /// # Panics
    /// As [`until`].
    pub fn until_heard<T>(&self, mut ask: impl FnMut() -> Result<T, String>) -> T {
        let handle = self.runtime.as_ref().unwrap().handle().clone();
        let mut probe = Instance::start(handle, &self.address, "probe", Arc::default());
        until("a probe has arrived", || {
            probe.count("trial.probe", &[], 1);
            probe.publish();
            ask()
        })
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It has ended by itself where nobody hears this.
            let _ = stop.send(());
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A program that measures, by hand: `trial.requests` and `trial.hits` are counters, `trial.users` is an updown counter,
/// `trial.temperature` a gauge, `trial.latency` a timer, `trial.sizes` a distribution.
pub struct Instance {
    push: Option<Push>,
    handle: Handle,
    id: InstanceId,
    source: String,
    born: u64,
    sequence: u64,
    rounds: u64,
    own: Totals,
    times: Histogram,
    sizes: Histogram,
    set_at: u64,
    all: Arc<Mutex<Totals>>,
    ended: Option<Vec<Vec<u8>>>,
}

impl Instance {
    fn start(handle: Handle, broker: &str, source: &str, all: Arc<Mutex<Totals>>) -> Instance {
        let within = handle.enter();
        let push = Push::start(&broker.parse().unwrap());
        drop(within);
        Instance {
            push: Some(push),
            handle,
            id: InstanceId::random(),
            source: source.to_owned(),
            born: now(),
            sequence: 0,
            rounds: 0,
            own: Totals::default(),
            times: Histogram::default(),
            sizes: Histogram::default(),
            set_at: 0,
            all,
            ended: None,
        }
    }

    fn both(&mut self, change: impl Fn(&mut Totals)) {
        change(&mut self.own);
        change(&mut self.all.lock().unwrap());
    }

    /// Measures something of everything: whole and broken, rising and falling, also below zero.
    pub fn measure(&mut self) {
        self.rounds += 1;
        let round = self.rounds;
        self.count("trial.requests", &[], 7);
        self.count("trial.hits", &[("code", "200"), ("method", "GET")], 3);
        self.change(if round.is_multiple_of(3) { -4 } else { 3 });
        self.set((round % 11) as f64 * 1.5 - 5.25);
        for i in 0..10 {
            let number = (round - 1) * 10 + i;
            self.time(1_000_000 * (1 + number * 37 % 1000) + 7);
            self.record((number * 61 % 500) as f64 * 0.25);
        }
    }

    /// Counts `more` of a counter.
    pub fn count(&mut self, name: &str, tags: &[(&str, &str)], more: i64) {
        let tags: Vec<_> = tags.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let key = (name.to_owned(), tags);
        self.both(|totals| *totals.counters.entry(key.clone()).or_default() += more);
    }

    /// Changes `trial.users`.
    pub fn change(&mut self, by: i64) {
        self.both(|totals| totals.users += by);
    }

    /// Sets `trial.temperature`.
    pub fn set(&mut self, value: f64) {
        self.set_at = now();
        self.both(|totals| totals.temperature = value);
    }

    /// Records a duration of `trial.latency`.
    ///
    /// # Panics
    /// Never: histograms take all that are finite.
    pub fn time(&mut self, nanoseconds: u64) {
        assert!(self.times.record(nanoseconds as f64));
        self.both(|totals| totals.latencies.push(nanoseconds));
    }

    /// Records a value of `trial.sizes`.
    ///
    /// # Panics
    /// When it is not finite.
    pub fn record(&mut self, value: f64) {
        assert!(self.sizes.record(value));
        self.both(|totals| totals.sizes.push(value));
    }

    /// Sends everything that it has measured since its start, as programs do at every interval. May be called as often
    /// as is wanted: nothing counts twice.
    pub fn publish(&mut self) {
        let frames = self.ended.clone().unwrap_or_else(|| self.frames(Flags::COMPLETE));
        self.offer(frames);
    }

    /// Sends everything for the last time, and that this is the end. [`publish`](Instance::publish) repeats the same from
    /// then on.
    pub fn end(&mut self) {
        if self.ended.is_none() {
            self.ended = Some(self.frames(Flags::COMPLETE.with(Flags::LAST)));
        }
        self.publish();
    }

    fn offer(&self, frames: Vec<Vec<u8>>) {
        for frame in frames {
            self.push.as_ref().unwrap().offer(TOPIC, frame.into());
        }
    }

    fn frames(&mut self, flags: Flags) -> Vec<Vec<u8>> {
        self.sequence += 1;
        let head = Head {
            instance: self.id,
            started_at: self.born,
            sequence: self.sequence,
            base: self.sequence,
            part: 0,
            parts: 1,
            sent_at: now().max(self.born),
            flags,
            source: self.source.clone(),
        };
        encode_set(&head, &self.rows(), limits::FRAME)
    }

    fn rows(&self) -> Vec<Row> {
        let own = &self.own;
        let mut rows: Vec<Row> = own
            .counters
            .iter()
            .map(|((name, tags), &total)| {
                let tags = Tags::new(tags.iter().map(|(name, value)| (name.as_str(), value.as_str())));
                self.row(Kind::Counter, name, tags, State::Total(Total::whole(total)))
            })
            .collect();
        if self.rounds > 0 || own.users != 0 {
            let total = State::Total(Total::whole(own.users));
            rows.push(self.row(Kind::Updown, "trial.users", Tags::none(), total));
        }
        if self.set_at > 0 {
            let gauge = Gauge { value: own.temperature, set_at: self.set_at, statistics: None };
            rows.push(self.row(Kind::Gauge, "trial.temperature", Tags::none(), State::Gauge(gauge)));
        }
        let sum = Total::whole(own.latency_sum() as i64);
        let spreads = [
            (Kind::Timer, "trial.latency", sum, &self.times),
            (Kind::Distribution, "trial.sizes", Total { whole: 0, float: own.size_sum() }, &self.sizes),
        ];
        for (kind, name, sum, histogram) in spreads {
            if histogram.count() > 0 {
                let spread = Spread { sum, span: None, histogram: histogram.clone() };
                rows.push(self.row(kind, name, Tags::none(), State::Spread(spread)));
            }
        }
        rows
    }

    fn row(&self, kind: Kind, name: &str, tags: Tags, state: State) -> Row {
        let source = self.source.as_str().into();
        Row {
            key: Key { kind, name: name.into(), source, tags, born: self.born },
            state,
            trace: None,
            event: None,
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(push) = self.push.take() {
            // What was published is still sent.
            self.handle.spawn(push.close(Duration::from_secs(10)));
        }
    }
}

fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64
}
