//! Running as a program: log lines on stderr, signals, and systemd's notifications.

use std::io::IsTerminal;
use std::process::ExitCode;

use crate::backend::Backend;
use crate::error::Error;
use crate::options::Options;
use crate::run::run;

/// Runs a worker as a program until INT, TERM or QUIT: sets up logging and a runtime. All that a `main` has to do
/// after it has read the options and made the backend.
pub fn main_with<B: Backend>(options: Options, backend: B) -> ExitCode {
    set_up_logging(options.verbose);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result =
        runtime.map_err(|why| Error::Task { why: format!("start the runtime: {why}") }).and_then(|runtime| {
            runtime.block_on(async {
                let stop =
                    end_signal().map_err(|why| Error::Task { why: format!("handle signals: {why}") })?;
                run(options, backend, stop).await
            })
        });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("failed to {error}");
            ExitCode::FAILURE
        }
    }
}

/// Has log lines written to stderr: with 1 the details, with 2 and more everything. A subscriber that is there already,
/// of the program around, stays.
pub fn set_up_logging(verbose: u8) {
    let level = match verbose {
        0 => tracing::Level::INFO,
        1 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init();
}

/// Done when the process is asked to end: INT, TERM or QUIT; Ctrl-C where there are no such signals.
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

/// The same as [`stop_signal`]; a hangup ends a worker that has a terminal, and no other. Those who rotate files send
/// it, and there is nothing to reopen: what a worker writes is opened anew for each batch.
#[cfg(unix)]
fn end_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = stop_signal()?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        let hung_up = async {
            while hangup.recv().await.is_some() {
                if std::io::stderr().is_terminal() {
                    return;
                }
                tracing::info!(
                    "was sent a HUP; files are opened anew for each batch, and options do not change"
                );
            }
            std::future::pending().await
        };
        tokio::select! {
            () = stop => {}
            () = hung_up => {}
        }
    })
}

#[cfg(not(unix))]
fn end_signal() -> std::io::Result<impl Future<Output = ()>> {
    stop_signal()
}

/// Tells systemd, where it started this process, that it is ready or about to end.
pub fn notify(stopping: bool) {
    if stopping { zibrato_admin::notify_stopping() } else { zibrato_admin::notify_ready() }
}
