//! Workers into real servers, beside the daemons that people would use for the same.
//!
//! A worker first fills its outbox while its server cannot be reached: that is what merging and settling cost. Then it is
//! started with the right address, and empties it as fast as the server takes it. At the end the server is asked whether it
//! has everything.

use std::any::Any;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use zibrato_trial::otlp::Receiver;
use zibrato_trial::prometheus::{PrometheusSetup, value};
use zibrato_trial::{Carbon, Collectd, Influx, SOURCE, Server, Statsd, Traffic, until};

const INSTANCES: usize = 5;
/// Counters of each instance, as a tag of one metric.
const SERIES: usize = 1000;
const METRIC: &str = "bench";
/// Carbon makes a file for each series, so these are small.
const SCHEMAS: &str = "[bench]\npattern = .*\nretentions = 1s:10m\n";
const AGGREGATION: &str = "[bench]\npattern = .*\nxFilesFactor = 0\naggregationMethod = sum\n";
/// Ticks of /proc/PID/stat in a second; Linux has had no other for programs for decades.
const TICKS: f64 = 100.0;

/// A worker and its server.
struct Case {
    worker: &'static str,
    server: &'static str,
    /// Options with which nobody is reached.
    away: Vec<String>,
    /// Options with which the server is.
    there: Vec<String>,
    process: Option<u32>,
    /// The sum of all counters, as the server has it.
    total: Box<dyn Fn() -> Result<f64, String>>,
    /// What lives as long as the case.
    _server: Box<dyn Any>,
}

/// Measures every worker whose server is there, for so many flushes, and the peers.
pub(crate) fn run(flushes: usize) {
    let program = program();
    println!("### Backends\n");
    println!(
        "Each of {INSTANCES} programs of one source has {SERIES} counters of its own, and every flush (1 s) has all of them. A \
         datapoint is what happened to one series in one flush, however many events that were.\n"
    );
    println!(
        "| worker | server | datapoints | sent per second | CPU seconds per million: merge and settle | send | server |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|");
    let cases: [fn() -> Option<Case>; 7] = [statsd, graphite, influx, victoria, remote_write, otlp, json];
    for case in cases.into_iter().filter_map(|case| case()) {
        measure(&program, &case, flushes);
    }
    println!(
        "\nThe daemons that people would use, flooded with lines `name:1|c` as fast as they take them without a loss. Here a line is an event.\n"
    );
    println!("| daemon | way | lines in a packet | lines per second | CPU seconds per million |");
    println!("|---|---|---:|---:|---:|");
    for packed in [1, 20] {
        if let Some(statsd) = Statsd::start() {
            let received = || Ok(statsd.counters()?.get("flood").copied().unwrap_or_default());
            flood("statsd 0.9.0 (node)", statsd.udp, statsd.server.id(), packed, flushes, received);
        }
        if let Some(collectd) = Collectd::start() {
            let received = || Ok(collectd.last_values().get("derive-flood").copied().unwrap_or_default());
            flood("collectd", collectd.udp, collectd.server.id(), packed, flushes, received);
        }
    }
    println!();
}

/// `zibrato` beside this program.
fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let program = own.with_file_name("zibrato");
    assert!(
        program.exists(),
        "{} is missing; build it with `cargo build --release -p zibrato-cli`",
        program.display()
    );
    program
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn statsd() -> Option<Case> {
    let statsd = Statsd::start()?;
    let (tcp, process) = (statsd.tcp, statsd.server.id());
    let statsd = std::rc::Rc::new(statsd);
    let asked = statsd.clone();
    Some(Case {
        worker: "statsd",
        server: "StatsD 0.9.0 (node), TCP",
        away: words("--address tcp://127.0.0.1:1"),
        there: words(&format!("--address tcp://127.0.0.1:{tcp}")),
        process,
        total: Box::new(move || {
            let counters = asked.counters()?;
            Ok(counters.iter().filter(|(name, _)| name.contains(METRIC)).map(|(_, total)| total).sum())
        }),
        _server: Box::new(statsd),
    })
}

fn graphite() -> Option<Case> {
    let carbon = std::rc::Rc::new(Carbon::start(SCHEMAS, AGGREGATION)?);
    let asked = carbon.clone();
    Some(Case {
        worker: "graphite",
        server: "carbon",
        away: words("--step 1 --address tcp://127.0.0.1:1"),
        there: words(&format!("--step 1 --address tcp://127.0.0.1:{}", carbon.tcp)),
        process: carbon.server.id(),
        total: Box::new(move || Ok(asked.stored()?.iter().map(zibrato_trial::Stored::sum).sum())),
        _server: Box::new(carbon),
    })
}

fn influx() -> Option<Case> {
    let influx = std::rc::Rc::new(Influx::start()?);
    let asked = influx.clone();
    let options = format!("--database metrics --username {}", Influx::WRITER);
    Some(Case {
        worker: "influx",
        server: "InfluxDB 1.6",
        away: words(&format!("{options} --url http://127.0.0.1:1")),
        there: words(&format!("{options} --url http://127.0.0.1:{}", influx.port())),
        process: influx.server.id(),
        total: Box::new(move || {
            let answer = asked.query(&format!("SELECT sum(counter) FROM {METRIC}"))?;
            // The last number of `"values":[[0,1000]]`.
            let number = answer.rsplit_once("]]").and_then(|(before, _)| before.rsplit_once(','));
            let number = number.and_then(|(_, number)| number.parse().ok());
            number.ok_or(answer)
        }),
        _server: Box::new(influx),
    })
}

fn victoria() -> Option<Case> {
    let victoria = std::rc::Rc::new(zibrato_trial::Victoria::start()?);
    let asked = victoria.clone();
    let port = victoria.port();
    Some(Case {
        worker: "influx",
        server: "VictoriaMetrics",
        away: words("--database metrics --url http://127.0.0.1:1"),
        there: words(&format!("--database metrics --url http://127.0.0.1:{port}")),
        process: victoria.server.id(),
        total: Box::new(move || {
            asked.flush()?;
            value(port, &format!("sum(sum_over_time({{__name__=~\"{METRIC}.*\"}}[1h]))"))
        }),
        _server: Box::new(victoria),
    })
}

fn remote_write() -> Option<Case> {
    let prometheus = PrometheusSetup::default().start()?;
    let port = prometheus.port;
    Some(Case {
        worker: "remote-write",
        server: "Prometheus 2.42",
        away: words("--url http://127.0.0.1:1/api/v1/write"),
        there: words(&format!("--url http://127.0.0.1:{port}/api/v1/write")),
        process: prometheus.server.id(),
        // They are totals there.
        total: Box::new(move || value(port, &format!("sum({METRIC}_total)"))),
        _server: Box::new(prometheus),
    })
}

fn otlp() -> Option<Case> {
    let receiver = std::rc::Rc::new(Receiver::start());
    let asked = receiver.clone();
    Some(Case {
        worker: "otlp",
        server: "a receiver that checks the data model, in this process",
        away: words("--url http://127.0.0.1:1"),
        there: words(&format!("--url {}", receiver.url())),
        process: None,
        total: Box::new(move || {
            let seen = asked.seen();
            let own = seen.streams.iter().filter(|((_, metric, _), _)| metric == METRIC);
            Ok(own.map(|(_, stored)| stored.number).sum())
        }),
        _server: Box::new(receiver),
    })
}

fn json() -> Option<Case> {
    let directory = tempfile::tempdir().ok()?;
    let file = directory.path().join("lines.jsonl");
    Some(Case {
        worker: "json",
        server: "a file",
        away: words("--url http://127.0.0.1:1/"),
        there: words(&format!("--file {}", file.display())),
        process: None,
        total: Box::new(move || {
            let text = std::fs::read_to_string(&file).map_err(|why| why.to_string())?;
            let values = text
                .lines()
                .filter(|line| line.contains(METRIC))
                .filter_map(|line| line.rsplit_once("\"value\":"));
            Ok(values.filter_map(|(_, value)| value.trim_end_matches('}').parse::<f64>().ok()).sum())
        }),
        _server: Box::new(directory),
    })
}

fn measure(program: &Path, case: &Case, flushes: usize) {
    let (Ok(state), traffic) = (tempfile::tempdir(), Traffic::start()) else { return };
    let worker = |options: &[String], broker: &str| {
        let setup = Server::new(program);
        let is_influx = case.server.starts_with("Influx");
        let setup = if is_influx { setup.env("INFLUX_PASSWORD", Influx::PASSWORD) } else { setup };
        setup
            .arg(case.worker)
            .args(["--broker", broker, "--levels", "info", "--flush", "1", "--outbox-limit", "1000000"])
            .arg("--state")
            .arg(state.path())
            .args(options)
    };
    let mut filling = worker(&case.away, traffic.broker()).ready_when_it_says("the broker is heard").start();
    let mut instances: Vec<_> = (0..INSTANCES).map(|_| traffic.instance(SOURCE)).collect();
    let series: Vec<String> = (0..INSTANCES * SERIES).map(|number| number.to_string()).collect();
    for _ in 0..flushes {
        let began = Instant::now();
        for (instance, own) in instances.iter_mut().zip(series.chunks(SERIES)) {
            own.iter().for_each(|number| instance.count(METRIC, &[("n", number)], 1));
            instance.publish();
        }
        std::thread::sleep(Duration::from_secs(1).saturating_sub(began.elapsed()));
    }
    // The last flush is settled after a second at the latest.
    std::thread::sleep(Duration::from_secs(3));
    let settling = cpu(filling.id());
    filling.stop();

    let before = cpu(case.process);
    let began = Instant::now();
    // Nothing is heard any more, so that all it does is sending.
    let emptying = worker(&case.there, "tcp://127.0.0.1:1").start();
    let database = state.path().join("state.db");
    while !is_empty(&database) {
        assert!(began.elapsed() < Duration::from_secs(300), "{}: {}", case.worker, emptying.log());
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = began.elapsed().as_secs_f64();
    let sending = cpu(emptying.id());
    // Some write behind; that is their cost, too.
    let wanted = (flushes * INSTANCES * SERIES) as f64;
    until("the server has everything", || match (case.total)()? {
        total if total == wanted => Ok(()),
        total => Err(format!("{} has {total}, not {wanted}", case.server)),
    });
    let server = cpu(case.process) - before;
    let per_million = |seconds: f64| seconds * 1e6 / wanted;
    println!(
        "| {} | {} | {wanted} | {:.0} | {:.2} | {:.2} | {} |",
        case.worker,
        case.server,
        wanted / took,
        per_million(settling),
        per_million(sending),
        if case.process.is_some() { format!("{:.2}", per_million(server)) } else { "–".to_owned() },
    );
}

/// Whether no batch waits in a worker's state directory.
fn is_empty(database: &Path) -> bool {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let asked = Connection::open_with_flags(database, flags).and_then(|database| {
        database.query_row("SELECT NOT EXISTS (SELECT 1 FROM outbox)", [], |row| row.get(0))
    });
    // While it is busy nothing can be said.
    asked.unwrap_or(false)
}

/// Seconds of processor time that a process has used.
fn cpu(process: Option<u32>) -> f64 {
    let stat =
        process.and_then(|id| std::fs::read_to_string(format!("/proc/{id}/stat")).ok()).unwrap_or_default();
    // The name, in brackets, may have blanks.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / TICKS
}

fn flood(
    daemon: &str,
    port: u16,
    process: Option<u32>,
    packed: usize,
    flushes: usize,
    received: impl Fn() -> Result<f64, String>,
) {
    let lines = flushes * INSTANCES * SERIES * packed.min(5);
    let packet = vec!["flood:1|c"; packed].join("\n");
    let Ok(socket) = UdpSocket::bind("127.0.0.1:0") else { return };
    let (before, began) = (cpu(process), Instant::now());
    for number in 0..lines / packed {
        // Not more than the daemon's buffer has room for.
        while number % 20 == 0 && waiting(port) > 64 << 10 {
            std::thread::sleep(Duration::from_micros(200));
        }
        assert!(socket.send_to(packet.as_bytes(), ("127.0.0.1", port)).is_ok(), "{daemon} does not listen");
    }
    while waiting(port) > 0 {
        std::thread::sleep(Duration::from_micros(200));
    }
    let took = began.elapsed().as_secs_f64();
    let used = cpu(process) - before;
    until("the daemon has counted everything", || match received()? {
        count if count == lines as f64 => Ok(()),
        count => Err(format!("{daemon} has {count}, not {lines}")),
    });
    println!("| {daemon} | UDP | {packed} | {:.0} | {:.2} |", lines as f64 / took, used * 1e6 / lines as f64);
}

/// Bytes that wait in the socket at a UDP port.
fn waiting(port: u16) -> u64 {
    let table = std::fs::read_to_string("/proc/net/udp").unwrap_or_default();
    let own = format!(":{port:04X}");
    let line =
        table.lines().find(|line| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&own)));
    let queues =
        line.and_then(|line| line.split_whitespace().nth(4)).and_then(|queues| queues.split_once(':'));
    queues.and_then(|(_, receive)| u64::from_str_radix(receive, 16).ok()).unwrap_or_default()
}
