//! `zibrato workers`: any number of workers in one process, over one subscription.

pub(crate) mod check;
mod config;
pub(crate) mod kind;
mod shift;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use zibrato_admin::{Part, Server, Watchdog};
use zibrato_worker::{Admin, notify, set_up_logging, stop_signal};

use crate::failure::{FAILED, Failure, complain};
use config::{Config, Problem};
use shift::Shift;

const AFTER_HELP: &str = "\
Examples:
  zibrato workers --config /etc/zibrato/zibrato.toml
  zibrato config check --config /etc/zibrato/zibrato.toml

A file:
  flush = 10                          # whatever all workers can be told
  [workers.influx]                    # a worker, and its backend
  url = \"http://127.0.0.1:8086\"       # each long option of `zibrato influx` is a key
  [workers.archive]
  backend = \"json\"
  keep = [\"web.*\", \"{region=eu*}\"]

On HUP the file is read again: workers that changed are ended and started anew, which loses nothing; a file that is
wrong changes nothing.

Exit status: 0 when it was told to end, 1 when it failed or the file is wrong, 2 when the command line was wrong.";

/// The options of `zibrato workers`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Options {
    #[command(flatten)]
    file: File,

    #[command(flatten)]
    admin: zibrato_admin::Options,

    /// Log more; twice for everything
    #[arg(long, short, env = "ZIBRATO_VERBOSE", action = clap::ArgAction::Count)]
    verbose: u8,
}

/// Where the configuration is.
#[derive(Debug, clap::Args)]
pub(crate) struct File {
    /// The configuration file
    #[arg(long, env = "ZIBRATO_CONFIG", default_value = "zibrato.toml", value_name = "FILE")]
    pub(crate) config: PathBuf,
}

pub(crate) fn main(options: &Options) -> Result<ExitCode, Failure> {
    let path = &options.file.config;
    let config = match config::read(path) {
        Ok(config) => config,
        Err(problems) => {
            problems.iter().for_each(|problem| complain(&problem.to_string()));
            return Ok(ExitCode::from(FAILED));
        }
    };
    set_up_logging(options.verbose.max(config.verbose));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|why| Failure::To(format!("start the runtime: {why}")))?;
    let admin = Arc::new(Admin::default());
    let port = zibrato_admin::Options {
        admin: options.admin.admin.clone().or(config.admin.clone()),
        admin_insecure: options.admin.admin_insecure || config.admin_insecure,
    };
    let to = |why: &dyn std::fmt::Display| Failure::To(why.to_string());
    let _server = Server::start(&port, admin.clone()).map_err(|why| to(&why))?;
    let watched = admin.clone();
    let _watchdog = Watchdog::start(move || watched.troubles())
        .map_err(|why| Failure::To(format!("start the watchdog: {why}")))?;
    runtime.block_on(work(config, options, admin)).map(|()| ExitCode::SUCCESS)
}

async fn work(config: Config, options: &Options, admin: Arc<Admin>) -> Result<(), Failure> {
    let no_handler = |why: std::io::Error| Failure::To(format!("handle signals: {why}"));
    let mut stop = std::pin::pin!(stop_signal().map_err(no_handler)?);
    let mut reload = Reload::new().map_err(no_handler)?;
    let port = (config.admin.clone(), config.admin_insecure);
    let mut shift = Shift::begin(config, admin.clone()).map_err(Failure::To)?;
    notify(false);
    loop {
        tokio::select! {
            () = &mut stop => break,
            () = reload.asked() => match config::read(&options.file.config) {
                Ok(config) if port != (config.admin.clone(), config.admin_insecure) => {
                    tracing::error!("the admin port can change only by a restart; everything goes on as it was");
                }
                Ok(config) => match shift.change(config).await {
                    Ok(()) => {}
                    Err(why) => tracing::error!("failed to {why}; everything goes on as it was"),
                },
                Err(problems) => tell(&problems),
            },
        }
    }
    admin.stops();
    notify(true);
    shift.end().await;
    Ok(())
}

fn tell(problems: &[Problem]) {
    for problem in problems {
        tracing::error!("{problem}; everything goes on as it was");
    }
}

/// That the file is to be read again: HUP, where there is such a signal.
struct Reload {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl Reload {
    fn new() -> std::io::Result<Reload> {
        Ok(Reload {
            #[cfg(unix)]
            hangup: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?,
        })
    }

    async fn asked(&mut self) {
        #[cfg(unix)]
        if self.hangup.recv().await.is_some() {
            return;
        }
        std::future::pending().await
    }
}
