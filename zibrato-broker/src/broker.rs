//! The broker as a whole: set up, run, stopped.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use omq_tokio::{Socket, SocketType};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use zibrato_admin::Liveness;
use zibrato_core::frame::decode_head;
use zibrato_core::level;

use crate::clock::Clock;
use crate::config::Config;
use crate::error::Error;
use crate::gateway;
use crate::keep::{Effect, Keep};
use crate::shared::{Shared, add};
use crate::sockets::{self, address, listen};
use crate::store::{Loaded, Store, Written};
use crate::{ask, intake, pulse, stop};

/// How often any ports are tried when none are given.
const ATTEMPTS: usize = 50;
/// How long a stop may take until everything is on the disk and out.
const STOPPING: Duration = Duration::from_secs(10);

/// How long a transaction may take until the disk counts as stuck.
const WRITING: Duration = Duration::from_secs(60);

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// The first port.
    pub port: u16,
    /// Publishers push here.
    pub push: String,
    /// Subscribers connect here.
    pub publish: String,
    /// Publishers hand over, workers and tools ask here.
    pub ask: String,
    /// Old publishers connect here.
    pub legacy_in: Option<String>,
    /// Old workers connect here.
    pub legacy_out: Option<String>,
}

/// A broker that listens, and works once it [runs](Broker::run).
pub struct Broker {
    shared: Arc<Shared>,
    addresses: Addresses,
    horizon: u64,
    pull: Socket,
    router: Socket,
    legacy: Option<(Socket, Socket)>,
    written: mpsc::UnboundedReceiver<Vec<Written>>,
}

impl Broker {
    /// Reads the state file, then listens: first where subscribers and askers come, then after
    /// [`Config::head_start`] where publishers come. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When a port is taken or the state file cannot be used.
    pub async fn bind(config: Config) -> Result<Broker, Error> {
        let clock = Clock::start();
        let boot = zibrato_core::frame::InstanceId::random().0;
        let (told, written) = mpsc::unbounded_channel();
        let mut limits = config.limits.clone();
        limits.durable = config.state.is_some();
        let mut keep = Keep::new(boot, limits);
        let mut store = None;
        let (mut damaged, mut unreadable) = (0, 0);
        if let Some(directory) = config.state.clone() {
            // SQLite waits for the disk, so it stays off the threads that serve sockets.
            let open = move || Store::open(&directory, clock.started_at());
            let opened = tokio::task::spawn_blocking(open).await;
            let (opened, loaded) = opened.map_err(|e| Error::Setup(std::io::Error::other(e)))??;
            (damaged, unreadable) = (loaded.damaged, restore(&mut keep, loaded, clock.now()));
            store = Some(opened);
        } else {
            tracing::warn!(
                "no state directory: what ended is kept in memory only, and is lost when the broker stops"
            );
        }

        let (port, publish, router, pull) = main_sockets(&config).await?;
        let legacy = match config.legacy_port {
            Some(port) => Some(legacy_sockets(&config.listen, port).await?),
            None => None,
        };
        let liveness = Liveness::default();
        let start = |s: Store| {
            let writes = liveness.on_demand("writing the state file", WRITING);
            s.start(writes, move |batch| {
                // The receiver is gone only when the broker is.
                let _ = told.send(batch);
            })
        };
        let writer = store.map(start).transpose().map_err(Error::Setup)?;
        let host = &config.listen;
        let addresses = Addresses {
            port,
            push: address(host, port),
            publish: address(host, port + 1),
            ask: address(host, port + 2),
            legacy_in: legacy.as_ref().map(|l| address(host, l.0)),
            legacy_out: legacy.as_ref().map(|l| address(host, l.0 + 1)),
        };
        let shared = Arc::new(Shared::new(keep, boot, clock, publish, writer, liveness.clone()));
        add(&shared.counters.damaged, damaged);
        add(&shared.counters.unreadable, unreadable);
        let legacy = legacy.map(|(_, subscribe, publish)| (subscribe, publish));
        let horizon = config.limits.horizon;
        Ok(Broker { shared, addresses, horizon, pull, router, legacy, written })
    }

    /// What its parts share.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Works until `shutdown` is done, then writes everything to the disk and ends.
    ///
    /// # Errors
    /// When a part of it ended by itself; the log says why. Everything else that goes wrong is logged and counted.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let Broker { shared, addresses, horizon, pull, router, legacy, written } = self;
        let Addresses { push, publish, ask, .. } = &addresses;
        tracing::info!(%push, %publish, %ask, durable = shared.durable, "broker listens");
        if let (Some(from), Some(to)) = (&addresses.legacy_in, &addresses.legacy_out) {
            tracing::info!(%from, %to, "legacy gateway listens");
        }
        let (stopper, stopped) = stop::channel();
        let (stop_ask, ask_stopped) = stop::channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(intake::run(shared.clone(), pull, stopped.clone()));
        tasks.spawn(pulse::run(shared.clone(), horizon, stopped.clone()));
        if let Some((subscribe, publish)) = legacy {
            tasks.spawn(gateway::run(shared.clone(), subscribe, publish, stopped));
        }
        let mut asked = tokio::spawn(ask::run(shared.clone(), router, written, ask_stopped));

        // No task ends before it is told to; one that does has failed, and half a broker is worse than none.
        let failed = tokio::select! {
            () = shutdown => false,
            ended = tasks.join_next() => { said_if_panicked(ended.unwrap_or(Ok(()))); true }
            ended = &mut asked => { said_if_panicked(ended); true }
        };
        tracing::info!("broker stops");
        let finish = async {
            stopper.stop();
            while let Some(ended) = tasks.join_next().await {
                said_if_panicked(ended);
            }
            stop_ask.stop();
            let records = shared.keep().unstored();
            shared.write(records.into_iter().map(Effect::Write));
            if let Some(writer) = shared.take_writer() {
                said_if_panicked(tokio::task::spawn_blocking(move || writer.finish()).await);
            }
            if !asked.is_finished() {
                said_if_panicked(asked.await);
            }
            // What subscribers have not been sent within the linger time, they ask for.
            let _ = shared.publish.clone().close().await;
        };
        if tokio::time::timeout(STOPPING, finish).await.is_err() {
            tracing::error!(
                "failed to stop in {} s; the state file may lack what was new",
                STOPPING.as_secs()
            );
        }
        if failed { Err(Error::Failed) } else { Ok(()) }
    }
}

/// Binds a broker and runs it until `shutdown` is done.
///
/// # Errors
/// As [`Broker::bind`] and [`Broker::run`].
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    Broker::bind(config).await?.run(shutdown).await
}

fn said_if_panicked<T>(result: Result<T, tokio::task::JoinError>) {
    if let Err(error) = result {
        tracing::error!("a task of the broker failed: {error}");
    }
}

/// Takes up what was on the disk; says how many frames of it cannot be read.
pub(crate) fn restore(keep: &mut Keep, loaded: Loaded, now: u64) -> u64 {
    let (mut frames, mut bad) = (0u64, 0u64);
    for tombstone in loaded.tombstones {
        keep.restore_tombstone(tombstone);
    }
    for (name, received, frame) in loaded.frames {
        match (level::of_topic(level::topic(&name).as_bytes()), decode_head(&frame)) {
            (Some(name), Ok(head)) => {
                // The clock may have been set back since.
                keep.restore(name, &head, &frame, received.min(now));
                frames += 1;
            }
            _ => bad += 1,
        }
    }
    keep.restored();
    if bad > 0 {
        tracing::error!(bad, "the state file has frames that cannot be read; they are left out");
    }
    if frames > 0 {
        tracing::info!(frames, instances = keep.instances(), "took up what is in the state file");
    }
    bad
}

/// Whether another port may help.
fn is_taken(error: &Error) -> bool {
    matches!(error, Error::Listen { source: omq_tokio::Error::Io(e), .. }
        if e.kind() == std::io::ErrorKind::AddrInUse)
}

/// Any port of the host that is free at the moment.
fn any_port(host: &str) -> Result<u16, Error> {
    let listener = std::net::TcpListener::bind((host.trim_matches(['[', ']']), 0)).map_err(Error::Setup)?;
    Ok(listener.local_addr().map_err(Error::Setup)?.port())
}

async fn main_sockets(config: &Config) -> Result<(u16, Socket, Socket, Socket), Error> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let port = if config.port == 0 { any_port(&config.listen)? } else { config.port };
        match main_sockets_at(config, port).await {
            Ok((publish, router, pull)) => return Ok((port, publish, router, pull)),
            Err(error) if config.port != 0 || attempt == ATTEMPTS || !is_taken(&error) => return Err(error),
            Err(_) => {}
        }
    }
}

async fn main_sockets_at(config: &Config, port: u16) -> Result<(Socket, Socket, Socket), Error> {
    if port > u16::MAX - 2 {
        return Err(Error::NoPorts { port });
    }
    let (publish, router, pull) =
        (sockets::publish(sockets::TOPIC), sockets::ask(), sockets::intake(SocketType::Pull));
    // Publishers reconnect sooner than subscribers do: had they found the door open first, a second's worth
    // of frames would have passed with nobody there to see them.
    listen(&publish, &config.listen, port + 1).await?;
    listen(&router, &config.listen, port + 2).await?;
    tokio::time::sleep(config.head_start).await;
    listen(&pull, &config.listen, port).await?;
    Ok((publish, router, pull))
}

async fn legacy_sockets(host: &str, wanted: u16) -> Result<(u16, Socket, Socket), Error> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let port = if wanted == 0 { any_port(host)? } else { wanted };
        if port == u16::MAX {
            return Err(Error::NoPorts { port });
        }
        let (subscribe, publish) = (sockets::intake(SocketType::Sub), sockets::publish(sockets::LINE));
        let bound = async {
            subscribe
                .subscribe("")
                .await
                .map_err(|source| Error::Listen { address: address(host, port), source })?;
            listen(&publish, host, port + 1).await?;
            listen(&subscribe, host, port).await
        };
        match bound.await {
            Ok(()) => return Ok((port, subscribe, publish)),
            Err(error) if wanted != 0 || attempt == ATTEMPTS || !is_taken(&error) => return Err(error),
            Err(_) => {}
        }
    }
}
