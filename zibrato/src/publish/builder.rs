use std::path::PathBuf;
use std::time::Duration;

use zibrato_core::level::Levels;
use zibrato_core::limits;
use zibrato_core::trace::Patterns;
use zibrato_transport::{Broker, KeyFiles, parse_brokers};

use super::guard::Guard;
use super::say;

/// What can be said about sending. Each setting has a twin in the environment, which wins: whoever runs a program
/// knows better than whoever wrote it.
///
/// | method | environment | default |
/// |---|---|---|
/// | [`broker`](Builder::broker) | `ZIBRATO_BROKER` | `tcp://127.0.0.1:5550` |
/// | [`key`](Builder::key) (feature `curve`) | `ZIBRATO_KEY` (a file) | none: not encrypted |
/// | [`broker_key`](Builder::broker_key) (feature `curve`) | `ZIBRATO_BROKER_KEY` (files) | none |
/// | [`levels`](Builder::levels) | `ZIBRATO_LEVELS` | `*` |
/// | [`interval`](Builder::interval) | `ZIBRATO_INTERVAL` (seconds) | 1 s |
/// | [`source`](Builder::source) | `ZIBRATO_SOURCE` | the host's name |
/// | [`deadline`](Builder::deadline) | `ZIBRATO_DEADLINE` (seconds) | 3 s |
/// | [`spill`](Builder::spill) | `ZIBRATO_SPILL` | nowhere |
/// | [`metrics`](Builder::metrics) | `ZIBRATO_METRICS` | 10,000 |
/// | [`idle`](Builder::idle) | `ZIBRATO_IDLE` (seconds, `0` for never) | never |
/// | [`trace`](Builder::trace) | `ZIBRATO_TRACE` | nothing |
/// | `process_metrics` (feature `process`) | `ZIBRATO_PROCESS_METRICS` (`1` or `0`) | off |
///
/// ```no_run
/// let _zibrato = zibrato::builder().source("web-1").levels("info,error").install()?;
/// # Ok::<(), zibrato::InstallError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is sent before `install`"]
pub struct Builder {
    broker: String,
    keys: KeyFiles,
    levels: String,
    interval: Duration,
    source: Option<String>,
    deadline: Duration,
    spill: Option<PathBuf>,
    metrics: usize,
    idle: Duration,
    trace: String,
    process_metrics: bool,
    environment: bool,
}

/// No clock takes more than this; it is as good as for ever.
const LONGEST: Duration = Duration::from_secs(86_400);

/// What the publisher works with.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) brokers: Vec<Broker>,
    pub(super) levels: Levels,
    pub(super) interval: Duration,
    pub(super) source: String,
    pub(super) deadline: Duration,
    pub(super) spill: Option<PathBuf>,
    pub(super) metrics: usize,
    pub(super) idle: Option<Duration>,
    pub(super) trace: Patterns,
    #[cfg(feature = "process")]
    pub(super) process_metrics: bool,
}

/// Starts saying how to send.
pub fn builder() -> Builder {
    Builder {
        broker: "tcp://127.0.0.1".into(),
        keys: KeyFiles::default(),
        levels: "*".into(),
        interval: Duration::from_secs(1),
        source: None,
        deadline: Duration::from_secs(3),
        spill: None,
        metrics: limits::METRICS,
        idle: Duration::ZERO,
        trace: String::new(),
        process_metrics: false,
        environment: true,
    }
}

impl Builder {
    /// One broker, `tcp://HOST[:PORT]`, or several with commas between: every frame goes to all of them.
    pub fn broker(mut self, broker: impl Into<String>) -> Self {
        self.broker = broker.into();
        self
    }

    /// The program's own key, the file `NAME.key_secret` that `zibrato keys new` has made: connections to brokers are
    /// then encrypted by CURVE, and each end proves who it is. Needs the feature `curve`, without which
    /// [`install`](Builder::install) refuses keys, and [`broker_key`](Builder::broker_key).
    pub fn key(mut self, file: impl Into<PathBuf>) -> Self {
        self.keys.key = Some(file.into());
        self
    }

    /// The brokers' public keys, files `NAME.key` with commas between: one for all brokers, or one for each.
    pub fn broker_key(mut self, files: impl Into<String>) -> Self {
        self.keys.broker_key = Some(files.into());
        self
    }

    /// Which levels are on: `info,error`, or `*,!debug`, or `*`.
    pub fn levels(mut self, levels: impl Into<String>) -> Self {
        self.levels = levels.into();
        self
    }

    /// How often totals are sent: 10 ms at least, a day at most.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// The source of every metric that names none.
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// For how long the guard's drop waits at most until a broker has acknowledged the last totals;
    /// a day at most.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// A directory for last totals that no broker has acknowledged in time. The next process with the same
    /// directory delivers them within 7 days, or `zibrato send --spilled`.
    pub fn spill(mut self, directory: impl Into<PathBuf>) -> Self {
        self.spill = Some(directory.into());
        self
    }

    /// The most metrics the process may have; what comes after is counted in `zibrato.overflow`.
    pub fn metrics(mut self, limit: usize) -> Self {
        self.metrics = limit;
        self
    }

    /// After how long without a handle a metric that is known only at run time leaves memory; zero, the default, is
    /// never. Its total is delivered first, and nothing is lost: one of the same name that comes later starts at
    /// zero, and is added to it at the other end. Handles that are kept keep their metrics.
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Which metrics are marked for tracing, beside those that are marked where they are measured: names with `*` for
    /// any characters and `?` for any one, `db.*,http.request`. Whenever one of them has changed, every hop to the last
    /// backend tells of it.
    pub fn trace(mut self, patterns: impl Into<String>) -> Self {
        self.trace = patterns.into();
        self
    }

    /// Whether to report what the process itself uses; see [`process`](crate::process) for the metrics.
    #[cfg(feature = "process")]
    pub fn process_metrics(mut self, on: bool) -> Self {
        self.process_metrics = on;
        self
    }

    /// Takes nothing from the environment: for programs with a command line of their own, which wins over it.
    pub fn without_environment(mut self) -> Self {
        self.environment = false;
        self
    }

    /// Starts sending. Keep the guard: its drop delivers the last totals.
    ///
    /// # Errors
    /// When a setting cannot be understood, something is installed already, or the system has no thread to give.
    pub fn install(self) -> Result<Guard, InstallError> {
        let asked = self.environment;
        let variable = |name: &str| std::env::var(name).ok().filter(|value| asked && !value.is_empty());
        let settings = self.settings(variable)?;
        Guard::start(settings)
    }

    fn settings(self, environment: impl Fn(&str) -> Option<String>) -> Result<Settings, InstallError> {
        let bad = |setting, why: String| InstallError::Setting { setting, why };
        let seconds = |setting, default: Duration| match environment(setting) {
            None => Ok(default),
            Some(text) => {
                let seconds = text.parse::<f64>().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
                seconds.ok_or_else(|| bad(setting, format!("{text:?} is no number of seconds")))
            }
        };
        let broker = environment("ZIBRATO_BROKER").unwrap_or(self.broker);
        let mut brokers = parse_brokers(&broker).map_err(|e| bad("ZIBRATO_BROKER", e.to_string()))?;
        let keys = KeyFiles {
            key: environment("ZIBRATO_KEY").map(PathBuf::from).or(self.keys.key),
            broker_key: environment("ZIBRATO_BROKER_KEY").or(self.keys.broker_key),
        };
        keys.secure(&mut brokers).map_err(|e| bad("ZIBRATO_KEY", e.to_string()))?;
        keys.warnings(&brokers).iter().for_each(|warning| say(format_args!("{warning}")));
        let levels = environment("ZIBRATO_LEVELS").unwrap_or(self.levels);
        let source = environment("ZIBRATO_SOURCE").or(self.source).unwrap_or_else(host_name);
        limits::check_name(&source).map_err(|e| bad("ZIBRATO_SOURCE", format!("{source:?}: {e}")))?;
        let metrics = match environment("ZIBRATO_METRICS") {
            None => self.metrics,
            Some(text) => {
                text.parse().map_err(|_| bad("ZIBRATO_METRICS", format!("{text:?} is no whole number")))?
            }
        };
        let process_metrics = match environment("ZIBRATO_PROCESS_METRICS").as_deref() {
            None => self.process_metrics,
            Some("0" | "false" | "no" | "off") => false,
            Some("1" | "true" | "yes" | "on") => true,
            Some(other) => {
                return Err(bad("ZIBRATO_PROCESS_METRICS", format!("{other:?} is neither 1 nor 0")));
            }
        };
        if process_metrics && !cfg!(feature = "process") {
            // Whoever sets this for many programs does not want some of them to refuse to start.
            say(format_args!(
                "ZIBRATO_PROCESS_METRICS is set, but this program was built without zibrato's feature `process`"
            ));
        }
        Ok(Settings {
            brokers,
            levels: levels
                .parse()
                .map_err(|e: zibrato_core::level::BadLevels| bad("ZIBRATO_LEVELS", e.to_string()))?,
            interval: seconds("ZIBRATO_INTERVAL", self.interval)?.clamp(Duration::from_millis(10), LONGEST),
            source,
            deadline: seconds("ZIBRATO_DEADLINE", self.deadline)?.min(LONGEST),
            spill: environment("ZIBRATO_SPILL").map(PathBuf::from).or(self.spill),
            metrics,
            trace: environment("ZIBRATO_TRACE").unwrap_or(self.trace).as_str().into(),
            idle: Some(seconds("ZIBRATO_IDLE", self.idle)?).filter(|idle| !idle.is_zero()),
            #[cfg(feature = "process")]
            process_metrics,
        })
    }
}

/// The host's name, as far as it can be used as a source.
fn host_name() -> String {
    let name = gethostname::gethostname().to_string_lossy().into_owned();
    if limits::check_name(&name).is_ok() { name } else { "localhost".into() }
}

/// Why nothing could be installed.
#[derive(Debug)]
#[non_exhaustive]
pub enum InstallError {
    /// A setting of the builder, or its twin in the environment, cannot be understood.
    Setting {
        /// The setting, by its name in the environment.
        setting: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A publisher is installed already. There can be one at a time; drop its guard first.
    AlreadyInstalled,
    /// The system has no thread or no event loop to give.
    Thread(std::io::Error),
}

impl std::fmt::Display for InstallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            InstallError::Setting { setting, why } => write!(f, "understand {setting}: {why}"),
            InstallError::AlreadyInstalled => f.write_str("install zibrato: it is installed already"),
            InstallError::Thread(e) => write!(f, "start zibrato's thread: {e}"),
        }
    }
}

impl std::error::Error for InstallError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            InstallError::Thread(e) => Some(e),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_wins_over_the_program() {
        let environment = |name: &str| match name {
            "ZIBRATO_LEVELS" => Some("error".to_string()),
            "ZIBRATO_INTERVAL" => Some("0.25".into()),
            "ZIBRATO_TRACE" => Some("a.*".into()),
            "ZIBRATO_BROKER" => Some("tcp://a,tcp://b:7000".into()),
            _ => None,
        };
        let settings = builder().levels("info").source("me").trace("b.*").settings(environment).unwrap();
        assert!(settings.levels.contains("error") && !settings.levels.contains("info"));
        assert_eq!((settings.interval, settings.brokers.len()), (Duration::from_millis(250), 2));
        assert_eq!(settings.source, "me");
        assert!(settings.trace.match_name("a.b") && !settings.trace.match_name("b.c"));
    }

    #[test]
    #[cfg(feature = "process")]
    fn process_metrics_are_off_unless_asked_for() {
        let settings = |builder: Builder, variable: Option<&str>| {
            let environment =
                |name: &str| variable.filter(|_| name == "ZIBRATO_PROCESS_METRICS").map(String::from);
            builder.settings(environment).unwrap().process_metrics
        };
        assert!(!settings(builder(), None));
        assert!(settings(builder(), Some("1")));
        assert!(settings(builder().process_metrics(true), None));
        assert!(!settings(builder().process_metrics(true), Some("0")));
    }

    #[test]
    fn keys_are_used_or_refused() {
        let bad = builder().key("/no/such/own").broker_key("/no/such/broker").settings(|_| None);
        let why = bad.unwrap_err().to_string();
        // Whether keys can be used is the transport's feature, which others may have switched on.
        let expected = ["read key /no/such/own: ", "without the feature `curve`"];
        assert!(
            why.starts_with("understand ZIBRATO_KEY: ") && expected.iter().any(|e| why.contains(e)),
            "{why}"
        );
        let environment = |name: &str| (name == "ZIBRATO_BROKER_KEY").then(|| "/a/key".to_string());
        assert!(builder().settings(environment).is_err(), "half of the keys is as wrong as a wrong one");
    }

    #[test]
    fn for_ever_is_a_day() {
        let settings = builder().deadline(Duration::MAX).interval(Duration::MAX).settings(|_| None).unwrap();
        assert_eq!((settings.deadline, settings.interval), (LONGEST, LONGEST));
    }

    #[test]
    fn a_bad_setting_is_named() {
        for (name, value) in [
            ("ZIBRATO_INTERVAL", "-1"),
            ("ZIBRATO_BROKER", "udp://x"),
            ("ZIBRATO_METRICS", "many"),
            ("ZIBRATO_PROCESS_METRICS", "maybe"),
        ] {
            let environment = |n: &str| (n == name).then(|| value.to_string());
            let error = builder().settings(environment).unwrap_err().to_string();
            assert!(error.starts_with(&format!("understand {name}: ")), "{error}");
        }
    }
}
