//! Receivers of OTLP: one that checks all that the data model asks for, made of the official messages, and Rotel, a collector.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogramDataPoint, Metric, NumberDataPoint,
};
use prost::Message as _;

use crate::{Server, Totals, free_port, python};

/// What a series is stored under: resource, metric, attributes.
pub type Stream = (BTreeMap<String, String>, String, BTreeMap<String, String>);

/// What is known of a series.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    /// Of the newest data point.
    pub unit: String,
    /// When its period began, in nanoseconds since 1970.
    pub start: u64,
    /// When its period ended.
    pub time: u64,
    /// The last total, or the sum of all deltas.
    pub number: f64,
    /// The same of a histogram.
    pub histogram: Histogram,
    /// Of a sum, whether it cannot fall.
    pub is_monotonic: bool,
    /// How many data points have come.
    pub points: usize,
}

/// An exponential histogram at scale 6.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    /// How many values it has.
    pub count: u64,
    /// Their sum, where it cannot fall.
    pub sum: Option<f64>,
    /// How many are zero.
    pub zero: u64,
    /// How many each bucket above zero has.
    pub positive: BTreeMap<i32, u64>,
    /// How many each bucket below zero has.
    pub negative: BTreeMap<i32, u64>,
}

impl Histogram {
    /// The quantile, at the middle of its bucket.
    ///
    /// # Panics
    /// When it has no values.
    pub fn quantile(&self, q: f64) -> f64 {
        let rank = ((q * self.count as f64).ceil() as u64).max(1);
        let edge = |index: i32| (f64::from(index) / 64.0).exp2();
        let middle = |index: i32| (edge(index) + edge(index + 1)) / 2.0;
        let negative = self.negative.iter().rev().map(|(&index, &n)| (-middle(index), n));
        let positive = self.positive.iter().map(|(&index, &n)| (middle(index), n));
        let mut seen = 0;
        let mut values = negative.chain([(0.0, self.zero)]).chain(positive);
        let found = values.find(|&(_, n)| {
            seen += n;
            seen >= rank
        });
        found.unwrap().0
    }

    fn add(&mut self, more: &Histogram) {
        self.count += more.count;
        self.sum = Some(self.sum.unwrap_or_default() + more.sum.unwrap_or_default());
        self.zero += more.zero;
        more.positive.iter().for_each(|(index, n)| *self.positive.entry(*index).or_default() += n);
        more.negative.iter().for_each(|(index, n)| *self.negative.entry(*index).or_default() += n);
    }

    /// Whether it has all values of another.
    fn has(&self, other: &Histogram) -> bool {
        let all = |own: &BTreeMap<i32, u64>, other: &BTreeMap<i32, u64>| {
            other.iter().all(|(index, n)| own.get(index).copied().unwrap_or_default() >= *n)
        };
        self.zero >= other.zero
            && all(&self.positive, &other.positive)
            && all(&self.negative, &other.negative)
    }
}

/// What is answered to a request.
#[derive(Debug, Clone)]
pub enum Step {
    /// Answers this status with these headers; stores nothing.
    Answer(u16, &'static str),
    /// Stores all and closes the connection.
    Lose,
    /// Stores all but metrics of this name, and says so, from now on.
    Reject(&'static str),
    /// Answers 413 to more than so many data points, from now on.
    AtMost(usize),
    /// Answers 400 to what has a metric of this name, from now on.
    Poison(&'static str),
}

/// What a receiver has seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Every series.
    pub streams: BTreeMap<Stream, Stored>,
    /// Which rules of the data model were broken.
    pub violations: Vec<String>,
    /// The heads of all requests, in lower case.
    pub heads: Vec<String>,
    /// What is answered to the next requests.
    pub script: VecDeque<Step>,
    most: Option<usize>,
    poison: Option<&'static str>,
    reject: Option<&'static str>,
    /// Whether a collector is before it, which makes one request of several.
    pub relayed: bool,
}

/// A receiver on loopback.
#[derive(Debug)]
pub struct Receiver {
    /// Where it listens.
    pub port: u16,
    seen: Arc<Mutex<Seen>>,
}

impl Receiver {
    /// Starts it.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || converse(stream.unwrap(), &shared));
            }
        });
        Receiver { port, seen }
    }

    /// What `--url` takes.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it has seen; it takes nothing while this is held.
    ///
    /// # Panics
    /// When it has panicked itself.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// Adds answers to the next requests.
    pub fn script(&self, steps: impl IntoIterator<Item = Step>) {
        self.seen().script.extend(steps);
    }

    /// The only series of a metric and source that has these attributes.
    ///
    /// # Errors
    /// When there is none, or several.
    pub fn stored(&self, source: &str, name: &str, attributes: &[(&str, &str)]) -> Result<Stored, String> {
        let seen = self.seen();
        let found = seen.streams.iter().filter(|((resource, metric, own), _)| {
            metric == name
                && attributes.len() == own.len()
                && attributes.iter().all(|(name, value)| own.get(*name).is_some_and(|v| v == value))
                && resource.values().any(|value| value == source)
        });
        match &found.collect::<Vec<_>>()[..] {
            [(_, one)] => Ok((*one).clone()),
            all => Err(format!("{name} has {} series", all.len())),
        }
    }

    /// Whether it has all that was measured by `web1`, timers in seconds or in nanoseconds.
    ///
    /// # Errors
    /// What it has not.
    pub fn has_all(&self, totals: &Totals, seconds: bool) -> Result<(), String> {
        let number =
            |name: &str, attributes: &[(&str, &str)]| self.stored("web1", name, attributes).map(|s| s.number);
        let scale = if seconds { 1e9 } else { 1.0 };
        let latency = self.stored("web1", "trial.latency", &[])?.histogram;
        let sizes = self.stored("web1", "trial.sizes", &[])?.histogram;
        let hits = number("trial.hits", &[("code", "200"), ("method", "GET")])?;
        for (what, found, wanted) in [
            ("requests", number("trial.requests", &[])?, totals.requests() as f64),
            ("hits", hits, totals.hits() as f64),
            ("users", number("trial.users", &[])?, totals.users as f64),
            ("temperature", number("trial.temperature", &[])?, totals.temperature),
            ("latencies", latency.count as f64, totals.latencies.len() as f64),
            ("sizes", sizes.count as f64, totals.sizes.len() as f64),
            ("sum of sizes", sizes.sum.unwrap_or_default(), totals.size_sum()),
        ] {
            if found != wanted {
                return Err(format!("{what}: {found} is not {wanted}"));
            }
        }
        let (sum, wanted) = (latency.sum.unwrap_or_default(), totals.latency_sum() as f64 / scale);
        if (sum / wanted - 1.0).abs() > 1e-9 {
            return Err(format!("latency: {sum} is not {wanted}"));
        }
        Ok(())
    }

    /// Checks that quantiles are within 2 %.
    ///
    /// # Panics
    /// When they are not.
    pub fn check_quantiles(&self, totals: &Totals, seconds: bool) {
        let scale = if seconds { 1e9 } else { 1.0 };
        let latency = self.stored("web1", "trial.latency", &[]).unwrap().histogram;
        let sizes = self.stored("web1", "trial.sizes", &[]).unwrap().histogram;
        for q in [0.5, 0.9, 0.99] {
            for (found, wanted) in [
                (latency.quantile(q), totals.latency_quantile(q) / scale),
                (sizes.quantile(q), totals.size_quantile(q)),
            ] {
                assert!((found / wanted - 1.0).abs() < 0.02, "{q}: {found} is not {wanted}");
            }
        }
    }
}

fn converse(stream: TcpStream, seen: &Mutex<Seen>) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    while let Some((head, body)) = read(&mut reader) {
        let answer = answer(&head, &body, &mut seen.lock().unwrap());
        let Some(answer) = answer.filter(|answer| writer.write_all(answer).is_ok()) else {
            let _ = writer.shutdown(std::net::Shutdown::Both);
            return;
        };
        drop(answer);
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_lowercase();
    let mut body = Vec::new();
    if let Some(length) = head.lines().find_map(|line| line.strip_prefix("content-length: ")) {
        body = vec![0; length.trim().parse().ok()?];
        reader.read_exact(&mut body).ok()?;
    } else {
        // In chunks, as some clients send it.
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let length = usize::from_str_radix(line.trim(), 16).ok()?;
            let mut chunk = vec![0; length + 2];
            reader.read_exact(&mut chunk).ok()?;
            if length == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..length]);
        }
    }
    if head.contains("content-encoding: gzip") {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).ok()?;
        body = plain;
    }
    Some((head, body))
}

fn http(status: u16, headers: &str, body: &[u8]) -> Option<Vec<u8>> {
    let head = format!("HTTP/1.1 {status} x\r\ncontent-type: application/x-protobuf\r\n{headers}");
    let head = format!("{head}content-length: {}\r\n\r\n", body.len());
    Some([head.as_bytes(), body].concat())
}

fn answer(head: &str, body: &[u8], seen: &mut Seen) -> Option<Vec<u8>> {
    seen.heads.push(head.to_owned());
    if !head.starts_with("post /v1/metrics http/1.1\r\n")
        || !head.contains("content-type: application/x-protobuf\r\n")
    {
        seen.violations.push(format!("a strange request: {head}"));
        return http(404, "", b"");
    }
    let Ok(mut request) = ExportMetricsServiceRequest::decode(body) else {
        seen.violations.push("a body that is no request".into());
        return http(400, "", b"");
    };
    let mut lose = false;
    match seen.script.pop_front() {
        Some(Step::Answer(status, headers)) => return http(status, headers, b""),
        Some(Step::Lose) => lose = true,
        Some(Step::AtMost(most)) => seen.most = Some(most),
        Some(Step::Poison(name)) => seen.poison = Some(name),
        Some(Step::Reject(name)) => seen.reject = Some(name),
        None => {}
    }
    if seen.most.is_some_and(|most| points(&request) > most) {
        return http(413, "", b"");
    }
    let mut metrics = request.resource_metrics.iter().flat_map(|r| &r.scope_metrics).flat_map(|s| &s.metrics);
    if seen.poison.is_some_and(|name| metrics.any(|metric| metric.name == name)) {
        return http(400, "", b"poisoned");
    }
    let mut response = ExportMetricsServiceResponse::default();
    if let Some(name) = seen.reject {
        let before = points(&request);
        for resource in &mut request.resource_metrics {
            resource.scope_metrics.iter_mut().for_each(|s| s.metrics.retain(|metric| metric.name != name));
        }
        let rejected_data_points = (before - points(&request)) as i64;
        let partial =
            ExportMetricsPartialSuccess { rejected_data_points, error_message: format!("no {name}") };
        response.partial_success = (rejected_data_points > 0).then_some(partial);
    }
    store(&request, seen);
    if lose { None } else { http(200, "", &response.encode_to_vec()) }
}

fn points(request: &ExportMetricsServiceRequest) -> usize {
    let metrics = request.resource_metrics.iter().flat_map(|r| &r.scope_metrics).flat_map(|s| &s.metrics);
    let points = metrics.map(|metric| match &metric.data {
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::ExponentialHistogram(all)) => all.data_points.len(),
        _ => 0,
    });
    points.sum()
}

fn store(request: &ExportMetricsServiceRequest, seen: &mut Seen) {
    let (mut here, mut resources) = (HashSet::new(), HashSet::new());
    for one in &request.resource_metrics {
        let resource = pairs(&one.resource.clone().unwrap_or_default().attributes, seen);
        if !resource.contains_key("service.name") || !resources.insert(resource.clone()) && !seen.relayed {
            seen.violations.push(format!("a resource without a name, or twice: {resource:?}"));
        }
        for scope in &one.scope_metrics {
            if scope.scope.as_ref().is_none_or(|scope| scope.name.is_empty() || scope.version.is_empty()) {
                seen.violations.push("a scope without a name or version".into());
            }
            let mut names = HashSet::new();
            for metric in &scope.metrics {
                if metric.name.is_empty() || !names.insert((&metric.name, kind(metric))) {
                    seen.violations.push(format!("a metric twice, or without a name: {}", metric.name));
                }
                store_metric(&resource, metric, &mut here, seen);
            }
        }
    }
}

fn kind(metric: &Metric) -> u8 {
    match &metric.data {
        Some(Data::Sum(sum)) => u8::from(sum.is_monotonic),
        Some(Data::Gauge(_)) => 2,
        Some(Data::ExponentialHistogram(_)) => 3,
        _ => 4,
    }
}

fn pairs(attributes: &[KeyValue], seen: &mut Seen) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for one in attributes {
        let value = match one.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(any_value::Value::StringValue(text)) => text.clone(),
            other => panic!("{other:?}"),
        };
        if one.key.is_empty() || all.insert(one.key.clone(), value).is_some() {
            seen.violations.push(format!("an attribute without a name, or twice: {}", one.key));
        }
    }
    all
}

fn store_metric(
    resource: &BTreeMap<String, String>,
    metric: &Metric,
    here: &mut HashSet<(Stream, u8, u64)>,
    seen: &mut Seen,
) {
    let mut stream = |attributes: &[KeyValue], time: u64, seen: &mut Seen| {
        let stream: Stream = (resource.clone(), metric.name.clone(), pairs(attributes, seen));
        if !here.insert((stream.clone(), kind(metric), time)) {
            seen.violations.push(format!("a data point twice in one request: {stream:?}"));
        }
        seen.streams.entry(stream.clone()).or_default().unit.clone_from(&metric.unit);
        stream
    };
    let cumulative = i32::from(AggregationTemporality::Cumulative);
    match &metric.data {
        Some(Data::Sum(sum)) => {
            for point in &sum.data_points {
                let stream = stream(&point.attributes, point.time_unix_nano, seen);
                let delta = sum.aggregation_temporality != cumulative;
                sum_point(&stream, point, sum.is_monotonic, delta, seen);
            }
        }
        Some(Data::Gauge(gauge)) => {
            for point in &gauge.data_points {
                let stream = stream(&point.attributes, point.time_unix_nano, seen);
                let stored = seen.streams.entry(stream).or_default();
                stored.time = point.time_unix_nano;
                stored.number = value(point);
                stored.points += 1;
            }
        }
        Some(Data::ExponentialHistogram(all)) => {
            for point in &all.data_points {
                let stream = stream(&point.attributes, point.time_unix_nano, seen);
                histogram_point(&stream, point, all.aggregation_temporality != cumulative, seen);
            }
        }
        other => seen.violations.push(format!("what is {other:?}?")),
    }
}

fn value(point: &NumberDataPoint) -> f64 {
    match point.value {
        Some(Value::AsInt(value)) => value as f64,
        Some(Value::AsDouble(value)) => value,
        None => panic!("a point without a value"),
    }
}

/// Takes a period into account; false where it is the repeat of what is there.
fn period(stream: &Stream, start: u64, time: u64, delta: bool, seen: &mut Seen) -> bool {
    let stored = seen.streams.entry(stream.clone()).or_default();
    let mut violations = Vec::new();
    if start == 0 || start >= time {
        violations.push(format!("{stream:?} begins at {start} and ends at {time}"));
    }
    let repeat = time == stored.time;
    if time < stored.time {
        violations.push(format!("{stream:?} goes back from {} to {time}", stored.time));
    }
    if stored.points > 0 && !delta && start != stored.start {
        violations.push(format!("{stream:?} began at {} and then at {start}", stored.start));
    }
    if stored.points > 0 && delta && !repeat && start < stored.time {
        violations.push(format!("{stream:?} has {start} to {time} after {}", stored.time));
    }
    (stored.start, stored.time) = (start, time.max(stored.time));
    stored.points += 1;
    seen.violations.extend(violations);
    !repeat
}

fn sum_point(stream: &Stream, point: &NumberDataPoint, monotonic: bool, delta: bool, seen: &mut Seen) {
    let is_new = period(stream, point.start_time_unix_nano, point.time_unix_nano, delta, seen);
    let value = value(point);
    let stored = seen.streams.get_mut(stream).unwrap();
    stored.is_monotonic = monotonic;
    let fell = monotonic && if delta { value < 0.0 } else { value < stored.number };
    let changed = !delta && !is_new && value != stored.number;
    match (delta, is_new) {
        (false, _) => stored.number = value,
        (true, true) => stored.number += value,
        (true, false) => {}
    }
    if fell || changed {
        seen.violations.push(format!("{stream:?} fell, or is another at the same time: {value}"));
    }
}

fn histogram_point(stream: &Stream, point: &ExponentialHistogramDataPoint, delta: bool, seen: &mut Seen) {
    let is_new = period(stream, point.start_time_unix_nano, point.time_unix_nano, delta, seen);
    let side = |buckets: &Option<Buckets>| -> BTreeMap<i32, u64> {
        let Some(Buckets { offset, bucket_counts }) = buckets else { return BTreeMap::new() };
        (*offset..).zip(bucket_counts.iter().copied()).filter(|(_, n)| *n > 0).collect()
    };
    let histogram = Histogram {
        count: point.count,
        sum: point.sum,
        zero: point.zero_count,
        positive: side(&point.positive),
        negative: side(&point.negative),
    };
    let mut violations = Vec::new();
    let inside: u64 = histogram.positive.values().chain(histogram.negative.values()).sum();
    if point.count != inside + point.zero_count {
        violations.push(format!("{stream:?} has {} values, and {inside} in buckets", point.count));
    }
    if point.scale != 6 || point.zero_threshold.is_nan() || point.zero_threshold < 0.0 {
        violations.push(format!("{stream:?} has scale {}, threshold {}", point.scale, point.zero_threshold));
    }
    for buckets in [&point.positive, &point.negative].into_iter().flatten() {
        let counts = &buckets.bucket_counts;
        if counts.first().is_none_or(|n| *n == 0) || counts.last() == Some(&0) || counts.len() > 8192 {
            violations.push(format!("{stream:?} has empty buckets outside"));
        }
        if (f64::from(buckets.offset) / 64.0).exp2() < point.zero_threshold * 0.999_999 {
            violations.push(format!("{stream:?} has buckets within zero"));
        }
    }
    if point.sum.is_some() && (point.negative.is_some() || point.count == 0) {
        violations.push(format!("{stream:?} has a sum that may fall, or of nothing"));
    }
    if let (Some(min), Some(max)) = (point.min, point.max)
        && (min > max || point.sum.is_some_and(|sum| min * point.count as f64 > sum * 1.000_001))
    {
        violations.push(format!("{stream:?} has extremes {min} and {max}"));
    }
    let stored = seen.streams.get_mut(stream).unwrap();
    match (delta, is_new) {
        (false, _) => {
            if !histogram.has(&stored.histogram) {
                violations.push(format!("{stream:?} has lost values"));
            }
            stored.histogram = histogram;
        }
        (true, true) => stored.histogram.add(&histogram),
        (true, false) => {}
    }
    seen.violations.extend(violations);
}

/// A running Rotel, which passes on what it takes.
pub struct Rotel {
    /// The server, to be stopped and started.
    pub server: Server,
    /// Where it takes OTLP over HTTP.
    pub port: u16,
}

impl Rotel {
    /// Starts it, to pass everything on to a receiver; `None` where it is not installed.
    ///
    /// # Panics
    /// When it does not start, or is missing where servers are required.
    pub fn start(to: &Receiver) -> Option<Rotel> {
        let python = python("rotel")?;
        to.seen().relayed = true;
        let versions = std::fs::read_dir(python.parent()?.parent()?.join("lib")).unwrap();
        let agents = versions.map(|version| version.unwrap().path().join("site-packages/rotel/rotel-agent"));
        let (port, grpc) = (free_port(), free_port());
        let server = Server::new(agents.into_iter().find(|agent| agent.exists())?)
            .args(["start", "--pid-file", "rotel.pid", "--log-file", "rotel.log"])
            .args(["--otlp-http-endpoint", &format!("127.0.0.1:{port}")])
            .args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{grpc}")])
            .args(["--exporter", "otlp", "--otlp-exporter-protocol", "http"])
            .args(["--otlp-exporter-endpoint", &to.url(), "--batch-timeout", "200ms"])
            .ready_when_listening(port)
            .start();
        Some(Rotel { server, port })
    }
}
