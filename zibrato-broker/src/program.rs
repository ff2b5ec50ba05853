//! Running as a program: log lines on stderr, signals, and systemd's notifications.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

use zibrato_admin::{Part, Server, Watchdog, notify_ready, notify_stopping};

use crate::admin::Admin;
use crate::broker::Broker;
use crate::config::Config;
use crate::error::Error;
use crate::options::Options;

/// File descriptors that are not for connections: ports, the state file, the admin port, what is read again.
const OWN_DESCRIPTORS: u64 = 64;

/// Runs the broker as a program until INT, TERM or QUIT: sets up logging and a runtime. For the program
/// `zibrato-broker` and the subcommand `zibrato broker`.
pub fn main_with(options: &Options) -> ExitCode {
    let level = match options.verbose {
        0 => tracing::Level::INFO,
        1 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    // A subscriber that is there already, of the program around, stays.
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init();
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Error::Setup)
        .and_then(|runtime| runtime.block_on(serve(options)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("failed to {error}");
            ExitCode::FAILURE
        }
    }
}

/// Asks for as many file descriptors as this process may have: each connection needs one. Gives how many there are.
#[cfg(unix)]
fn raise_descriptors() -> Option<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!("failed to raise the limit of open files: {error}");
    }
    getrlimit(Resource::Nofile).current
}

#[cfg(not(unix))]
fn raise_descriptors() -> Option<u64> {
    None
}

/// Lets no more connections in than there are descriptors for, so that the files stay within reach: who is not allowed
/// any more is read from one.
fn spare(config: &mut Config, descriptors: Option<u64>) {
    let Some(most) = descriptors.and_then(|n| usize::try_from(n.saturating_sub(OWN_DESCRIPTORS)).ok()) else {
        return;
    };
    let wanted = &mut config.connections.connections;
    if most < *wanted {
        tracing::warn!(
            wanted = *wanted,
            most,
            "fewer connections than wanted: the limit of open files is too low"
        );
        *wanted = most.max(1);
    }
}

async fn serve(options: &Options) -> Result<(), Error> {
    let descriptors = raise_descriptors();
    let stop = stop_signal().map_err(Error::Setup)?;
    let admin = Arc::new(Admin::default());
    let _server = Server::start(&options.admin, admin.clone()).map_err(Error::Admin)?;
    let watched = admin.clone();
    let _watchdog = Watchdog::start(move || watched.troubles()).map_err(Error::Setup)?;
    let mut config = options.config()?;
    spare(&mut config, descriptors);
    let broker = Broker::bind(config).await?;
    admin.bound(&broker);
    notify_ready();
    broker
        .run(async {
            stop.await;
            admin.stops();
            notify_stopping();
        })
        .await
}

/// Done when the process is asked to end: INT, TERM or QUIT.
///
/// # Errors
/// When the handlers cannot be installed.
#[cfg(unix)]
pub fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut quit = signal(SignalKind::quit())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = quit.recv() => {}
        }
    })
}

/// Done when the process is asked to end: Ctrl-C.
///
/// # Errors
/// When the handler cannot be installed.
#[cfg(not(unix))]
pub fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        // Without a handler there is nothing to wait for, and the process ends the hard way.
        let _ = tokio::signal::ctrl_c().await;
    })
}
