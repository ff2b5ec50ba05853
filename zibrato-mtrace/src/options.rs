//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{ArgMatches, Command, FromArgMatches};
use zibrato_core::level;
use zibrato_http::{ServiceUrl, Way, timeout};
use zibrato_worker::{BackendOptions, OpenError};

use crate::{Format, IndexPattern, Mtrace, Target};

/// Where lines go: to a file, to syslog, to a bulk endpoint, or, with none of these, to standard output.
#[derive(Debug, Clone)]
pub struct Options(Inner);

#[derive(Debug, Clone, clap::Args)]
#[group(id = "mtrace")]
#[command(next_help_heading = "mtrace")]
pub(crate) struct Inner {
    /// The form of the lines
    #[arg(long, value_name = "FORMAT", default_value = "json", env = "MTRACE_FORMAT")]
    pub(crate) format: Format,
    /// Append to this file
    #[arg(long, value_name = "FILE", env = "MTRACE_FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Begin a new file before one is larger than this
    #[arg(long, value_name = "BYTES", env = "MTRACE_ROTATE_BYTES")]
    pub(crate) rotate_bytes: Option<u64>,
    /// How many older files to keep, as FILE.1, FILE.2 and so on
    #[arg(long, value_name = "NUMBER", default_value = "5", env = "MTRACE_ROTATE_KEEP")]
    pub(crate) rotate_keep: u32,
    /// Send to syslog: udp://HOST:PORT, tcp://HOST:PORT or unix:///dev/log
    #[arg(long, value_name = "TARGET", conflicts_with = "file", env = "MTRACE_SYSLOG")]
    pub(crate) syslog: Option<Target>,
    /// Post to this Elasticsearch-compatible service
    #[arg(long, value_name = "URL", conflicts_with_all = ["file", "syslog"], env = "MTRACE_BULK_URL")]
    pub(crate) bulk_url: Option<ServiceUrl>,
    /// The index, with the date of each line: %Y, %m, %d, %H and %j
    #[arg(
        long,
        value_name = "PATTERN",
        default_value = "zibrato-mtrace-%Y.%m.%d",
        env = "MTRACE_BULK_INDEX"
    )]
    pub(crate) bulk_index: IndexPattern,
    /// The user of the service
    #[arg(long, value_name = "NAME", env = "MTRACE_BULK_USER")]
    pub(crate) bulk_user: Option<String>,
    /// A file with the user's password; without one it is read from the environment variable MTRACE_BULK_PASSWORD
    #[arg(long, value_name = "FILE", env = "MTRACE_BULK_PASSWORD_FILE")]
    pub(crate) bulk_password_file: Option<PathBuf>,
    /// A file with an API key for the service; without one it is read from the environment variable MTRACE_BULK_API_KEY
    #[arg(long, value_name = "FILE", env = "MTRACE_BULK_API_KEY_FILE")]
    pub(crate) bulk_api_key_file: Option<PathBuf>,
    /// Compress what is posted
    #[arg(long, env = "MTRACE_GZIP", value_parser = FalseyValueParser::new())]
    pub(crate) gzip: bool,
    /// How long one request may take
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = timeout, env = "MTRACE_TIMEOUT")]
    pub(crate) timeout: Duration,
    /// The way to the service.
    #[command(flatten)]
    pub(crate) way: Way,
}

impl FromArgMatches for Options {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Inner::from_arg_matches(matches).map(Options)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl clap::Args for Options {
    fn group_id() -> Option<clap::Id> {
        Inner::group_id()
    }

    fn augment_args(command: Command) -> Command {
        with_own_level(Inner::augment_args(command))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Inner::augment_args_for_update(command)
    }
}

/// Events are at a level of their own, to which workers do not listen unless it is named.
fn with_own_level(command: Command) -> Command {
    if command.get_arguments().any(|argument| argument.get_id() == "levels") {
        command.mut_arg("levels", |levels| levels.default_value(level::TRACE))
    } else {
        command
    }
}

impl BackendOptions for Options {
    type Backend = Mtrace;
    const ABOUT: &'static str = "Write down what every hop tells of traced metrics";
    const EXAMPLES: &'static str = "\
| jq 'select(.verdict != \"ok\")'
--file /var/log/zibrato-mtrace.jsonl --rotate-bytes 100000000
--syslog unix:///dev/log
--bulk-url https://elastic.example.org:9200 --bulk-user trace --bulk-password-file /etc/zibrato/elastic";

    fn open(self, worker: &zibrato_worker::Options) -> Result<Mtrace, OpenError> {
        if !worker.dry_run && !worker.levels.contains(level::TRACE) {
            tracing::warn!(levels = %worker.levels, "nothing will be written: events are at the level `mtrace`");
        }
        Ok(Mtrace::new(self.0)?)
    }
}
