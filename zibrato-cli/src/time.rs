//! `zibrato time`: run a command and measure how long it takes.

use std::ffi::OsString;
use std::io;
use std::process::{ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use crate::failure::{Failure, complain};
use crate::labels::{Labels, name};
use crate::measure::{Measured, deliver};
use crate::output;

/// As shells have it: the command cannot be executed, and there is none of that name.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

const AFTER_HELP: &str = "\
Examples:
  zibrato time --name backup -- tar czf /tmp/home.tgz /home
  zibrato time --name tests --outcome --tag branch=main -- make test

Exit status: that of the command, or 128 and the number of the signal that ended it; 126 when it cannot
be executed, 127 when it is not found, 2 when the command line was wrong. That no broker acknowledged the
measurement is said on stderr and changes nothing.

INT, TERM, HUP and QUIT are passed on to the command.";

/// The options of `zibrato time`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Options {
    /// The metric's name
    #[arg(long, value_parser = name)]
    name: String,

    #[command(flatten)]
    labels: Labels,

    /// Add a tag that says how it ended: outcome=ok for status 0, outcome=error for everything else
    #[arg(long, env = "ZIBRATO_OUTCOME")]
    outcome: bool,

    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub(crate) fn main(options: &Options) -> Result<ExitCode, Failure> {
    let mut labels = options.labels.clone();
    // The tag that comes later has a place, too.
    labels.check_tags(usize::from(options.outcome))?;
    let (program, arguments) = match options.command.split_first() {
        Some(command) => command,
        None => return Err(Failure::Usage("a command is needed".into())),
    };
    let (status, took) = match output::runtime()?.block_on(run(program, arguments)) {
        Ok(ended) => ended,
        Err(why) => {
            complain(&format!("failed to run {}: {why}", program.to_string_lossy()));
            let missing = why.kind() == io::ErrorKind::NotFound;
            return Ok(ExitCode::from(if missing { NOT_FOUND } else { NOT_EXECUTABLE }));
        }
    };
    if options.outcome {
        labels = labels.with_tag("outcome", if status.success() { "ok" } else { "error" });
    }
    if let Err(why) = deliver(&options.name, &labels, Measured::Duration(took)) {
        why.report();
    }
    Ok(ExitCode::from(code(status)))
}

#[cfg(unix)]
fn code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(crate::failure::FAILED)
}

#[cfg(not(unix))]
fn code(status: ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(crate::failure::FAILED)
}

#[cfg(unix)]
async fn run(program: &OsString, arguments: &[OsString]) -> io::Result<(ExitStatus, Duration)> {
    // Before the command starts, so that no signal finds nobody.
    let mut signals = signals::Signals::start()?;
    let start = Instant::now();
    let mut child = tokio::process::Command::new(program).args(arguments).spawn()?;
    loop {
        // The child is only reaped in here, so its id is its own for as long as it is used.
        tokio::select! {
            status = child.wait() => {
                let ended = (status?, start.elapsed());
                signals.end();
                return Ok(ended);
            }
            signal = signals.next() => if let Some(id) = child.id() {
                signals::pass_on(id, signal);
            },
        }
    }
}

/// Ctrl-C reaches the command by itself; this program goes on until it has ended.
#[cfg(not(unix))]
async fn run(program: &OsString, arguments: &[OsString]) -> io::Result<(ExitStatus, Duration)> {
    tokio::spawn(async { while tokio::signal::ctrl_c().await.is_ok() {} });
    let start = Instant::now();
    let status = tokio::process::Command::new(program).args(arguments).status().await?;
    Ok((status, start.elapsed()))
}

#[cfg(unix)]
mod signals {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use rustix::process::{Pid, Signal, kill_process};
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    use signal_hook::iterator::SignalsInfo;
    use signal_hook::iterator::exfiltrator::origin::WithOrigin;
    use signal_hook::low_level::emulate_default_handler;
    use signal_hook::low_level::siginfo::Cause;
    use tokio::sync::mpsc;

    /// Signals to be passed on.
    pub(super) struct Signals {
        received: mpsc::UnboundedReceiver<i32>,
        over: Arc<AtomicBool>,
    }

    impl Signals {
        pub(super) fn start() -> io::Result<Signals> {
            let mut signals = SignalsInfo::<WithOrigin>::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT])?;
            let (sender, received) = mpsc::unbounded_channel();
            let over = Arc::new(AtomicBool::new(false));
            let ended = over.clone();
            std::thread::Builder::new().name("signals".into()).spawn(move || {
                for origin in signals.forever() {
                    if ended.load(Relaxed) {
                        // While the measurement is delivered, signals do what they do to any program.
                        let _ = emulate_default_handler(origin.signal);
                    }
                    // What the terminal sends, by Ctrl-C, it sends to the command as well.
                    if !matches!(origin.cause, Cause::Kernel) {
                        let _ = sender.send(origin.signal);
                    }
                }
            })?;
            Ok(Signals { received, over })
        }

        /// The next signal to be passed on.
        pub(super) async fn next(&mut self) -> i32 {
            match self.received.recv().await {
                Some(signal) => signal,
                None => std::future::pending().await,
            }
        }

        /// There is nobody any more to pass them on to.
        pub(super) fn end(&self) {
            self.over.store(true, Relaxed);
        }
    }

    /// A command that has ended already does not hear it.
    pub(super) fn pass_on(id: u32, signal: i32) {
        let id = i32::try_from(id).ok().and_then(Pid::from_raw);
        if let (Some(id), Some(signal)) = (id, Signal::from_named_raw(signal)) {
            let _ = kill_process(id, signal);
        }
    }
}
