//! The broker as a whole: set up, run, stopped.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use zibrato_admin::Liveness;
use zibrato_core::frame::decode_head;
use zibrato_core::level;

use crate::ask::Asked;
use crate::clock::Clock;
use crate::config::{Config, ConnectionLimits};
use crate::error::Error;
use crate::gateway::Legacy;
use crate::intake::Intake;
use crate::keep::{Effect, Keep};
use crate::net::{Fanout, Guard, Links, Listener, Net, Pool, QueueLimits, Rates, address};
use crate::publishing::Publishing;
use crate::refusals::Refusals;
use crate::shared::{Shared, add};
use crate::store::{Loaded, Store, Written};
use crate::{pulse, stop};

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

/// The three ports.
struct Ports {
    push: Listener,
    publish: Listener,
    ask: Listener,
}

/// A broker that listens, and works once it [runs](Broker::run).
pub struct Broker {
    shared: Arc<Shared>,
    addresses: Addresses,
    horizon: u64,
    ports: Ports,
    legacy: Option<(Listener, Listener)>,
    written: mpsc::UnboundedReceiver<Vec<Written>>,
}

impl Broker {
    /// Reads the state file, then listens: first where subscribers and askers come, then after
    /// [`Config::head_start`] where publishers come. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When a port is taken or the state file cannot be used.
    pub async fn bind(config: Config) -> Result<Broker, Error> {
        let ConnectionLimits { frames_per_second: frames, bytes_per_second: bytes, .. } = config.connections;
        let guard = Guard::new(config.keys.clone(), config.allow.clone(), Rates { frames, bytes })?;
        let guard = Arc::new(guard);
        check_protection(&config).await?;
        let boot = zibrato_core::frame::InstanceId::random().0;
        let (told, written) = mpsc::unbounded_channel();
        let mut limits = config.limits.clone();
        limits.durable = config.state.is_some();
        let mut keep = Keep::new(boot, limits);
        let mut store = None;
        let (mut damaged, mut unreadable) = (0, 0);
        let mut clock = Clock::start(None);
        if let Some(directory) = config.state.clone() {
            // SQLite waits for the disk, so it stays off the threads that serve sockets.
            let open = move || Store::open(&directory);
            let opened = tokio::task::spawn_blocking(open).await;
            let (opened, loaded) = opened.map_err(|e| Error::Setup(std::io::Error::other(e)))??;
            clock = Clock::start(loaded.anchor.as_ref());
            (damaged, unreadable) = (loaded.damaged, restore(&mut keep, loaded, clock.now()));
            store = Some(opened);
        } else {
            tracing::warn!(
                "no state directory: what ended is kept in memory only, and is lost when the broker stops"
            );
        }

        let (port, ports) = listen(&config).await?;
        let legacy = match config.legacy_port {
            Some(port) => Some(listen_to_old(&config.listen, port).await?),
            None => None,
        };
        let liveness = Liveness::default();
        let start = |s: Store| {
            let writes = liveness.on_demand("writing the state file", WRITING);
            s.start(clock, writes, move |batch| {
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
        let refusals = Arc::<Refusals>::default();
        let links = Links::new(config.connections, refusals.clone());
        let net = Net { links, pool: Pool::new(config.connections.outgoing_bytes), refusals, guard };
        let shared = Arc::new(Shared::new(keep, boot, clock, net, writer, liveness.clone()));
        add(&shared.counters.damaged, damaged);
        add(&shared.counters.unreadable, unreadable);
        let legacy = legacy.map(|(_, subscribe, publish)| (subscribe, publish));
        let horizon = config.limits.horizon;
        Ok(Broker { shared, addresses, horizon, ports, legacy, written })
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
        let Broker { shared, addresses, horizon, ports, legacy, written } = self;
        let Addresses { push, publish, ask, .. } = &addresses;
        let is_encrypted = shared.net.guard.is_secure();
        tracing::info!(%push, %publish, %ask, durable = shared.durable, encrypted = is_encrypted, "broker listens");
        if let (Some(from), Some(to)) = (&addresses.legacy_in, &addresses.legacy_out) {
            tracing::info!(%from, %to, "legacy gateway listens");
        }
        // They stop in this order: what comes in, what is made of it, what goes out.
        let (mut coming, mut making, mut going) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
        let (stop_coming, coming_stopped) = stop::channel();
        let (stop_making, making_stopped) = stop::channel();
        let (stop_going, going_stopped) = stop::channel();
        let net = shared.net.clone();
        let asked = Arc::new(Asked::new(shared.clone()));
        #[cfg(unix)]
        making.spawn(on_hup(shared.clone(), making_stopped.clone()));
        coming.spawn(ports.push.run(net.clone(), Arc::new(Intake(shared.clone())), coming_stopped.clone()));
        making.spawn(pulse::run(shared.clone(), horizon, making_stopped.clone()));
        going.spawn(ports.ask.run(net.clone(), asked.clone(), going_stopped.clone()));
        let to_subscribers = publishing(&shared, "out", &shared.fanout);
        going.spawn(ports.publish.run(net.clone(), to_subscribers, going_stopped.clone()));
        if let Some((from, to)) = legacy {
            let gateway = Arc::new(Legacy::new(shared.clone(), shared.old_lines.clone()));
            coming.spawn(from.run(net.clone(), gateway.clone(), coming_stopped));
            making.spawn(gateway.run(making_stopped));
            let to_subscribers = publishing(&shared, "legacy_out", &shared.old_lines);
            going.spawn(to.run(net, to_subscribers, going_stopped));
        }
        let durable = shared.durable;
        let mut acknowledging = tokio::spawn(asked.acknowledge_written(written));

        // No task ends before it is told to; one that does has failed, and half a broker is worse than none.
        let failed = tokio::select! {
            () = shutdown => false,
            Some(ended) = coming.join_next() => { said_if_panicked(ended); true }
            Some(ended) = making.join_next() => { said_if_panicked(ended); true }
            Some(ended) = going.join_next() => { said_if_panicked(ended); true }
            ended = &mut acknowledging, if durable => { said_if_panicked(ended); true }
        };
        tracing::info!("broker stops");
        let finish = async {
            stop_coming.stop();
            ended(&mut coming).await;
            stop_making.stop();
            ended(&mut making).await;
            let records = shared.keep().unstored();
            shared.write(records.into_iter().map(Effect::Write));
            if let Some(writer) = shared.take_writer() {
                said_if_panicked(tokio::task::spawn_blocking(move || writer.finish()).await);
            }
            if !acknowledging.is_finished() {
                said_if_panicked(acknowledging.await);
            }
            // What subscribers have not been sent within the linger time, they ask for.
            stop_going.stop();
            ended(&mut going).await;
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

async fn ended(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        said_if_panicked(ended);
    }
}

fn publishing(shared: &Shared, place: &'static str, fanout: &Arc<Fanout>) -> Arc<Publishing> {
    let ConnectionLimits { behind_messages: messages, behind_bytes: bytes, .. } = *shared.net.links.limits();
    let queue = QueueLimits { messages, bytes };
    Arc::new(Publishing { place, fanout: fanout.clone(), refusals: shared.refusals.clone(), queue })
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

/// Refuses to let in the world by mistake.
async fn check_protection(config: &Config) -> Result<(), Error> {
    if config.keys.is_some() {
        return Ok(());
    }
    let host = config.listen.trim_matches(['[', ']']);
    let addresses = tokio::net::lookup_host((host, config.port))
        .await
        .map_err(|source| Error::Listen { address: address(&config.listen, config.port), source })?;
    let Some(address) = addresses.map(|a| a.ip().to_canonical()).find(|ip| !ip.is_loopback()) else {
        return Ok(());
    };
    if !config.insecure {
        return Err(Error::Unprotected { address: address.to_string() });
    }
    tracing::warn!(%address, "listens beyond this host without keys: whoever reaches it can send and read");
    Ok(())
}

/// Reads the allowed identities again at every HUP.
#[cfg(unix)]
async fn on_hup(shared: Arc<Shared>, mut stop: stop::Stop) {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hup = match signal(SignalKind::hangup()) {
        Ok(hup) => hup,
        Err(error) => {
            tracing::warn!("failed to handle HUP: {error}");
            return stop.stopped().await;
        }
    };
    loop {
        tokio::select! {
            biased;
            () = stop.stopped() => return,
            _ = hup.recv() => shared.read_allowed(),
        }
    }
}

/// Whether another port may help.
fn is_taken(error: &Error) -> bool {
    matches!(error, Error::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse)
}

/// Any port of the host that is free at the moment.
fn any_port(host: &str) -> Result<u16, Error> {
    let listener = std::net::TcpListener::bind((host.trim_matches(['[', ']']), 0)).map_err(Error::Setup)?;
    Ok(listener.local_addr().map_err(Error::Setup)?.port())
}

async fn listen(config: &Config) -> Result<(u16, Ports), Error> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let port = if config.port == 0 { any_port(&config.listen)? } else { config.port };
        match listen_from(config, port).await {
            Ok(ports) => return Ok((port, ports)),
            Err(error) if config.port != 0 || attempt == ATTEMPTS || !is_taken(&error) => return Err(error),
            Err(_) => {}
        }
    }
}

async fn listen_from(config: &Config, port: u16) -> Result<Ports, Error> {
    if port > u16::MAX - 2 {
        return Err(Error::NoPorts { port });
    }
    // Publishers reconnect sooner than subscribers do: had they found the door open first, a second's worth
    // of frames would have passed with nobody there to see them.
    let publish = Listener::bind(&config.listen, port + 1).await?;
    let ask = Listener::bind(&config.listen, port + 2).await?;
    tokio::time::sleep(config.head_start).await;
    let push = Listener::bind(&config.listen, port).await?;
    Ok(Ports { push, publish, ask })
}

async fn listen_to_old(host: &str, wanted: u16) -> Result<(u16, Listener, Listener), Error> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let port = if wanted == 0 { any_port(host)? } else { wanted };
        if port == u16::MAX {
            return Err(Error::NoPorts { port });
        }
        let bound = async {
            let publish = Listener::bind(host, port + 1).await?;
            Ok((port, Listener::bind(host, port).await?, publish))
        };
        match bound.await {
            Ok(bound) => return Ok(bound),
            Err(error) if wanted != 0 || attempt == ATTEMPTS || !is_taken(&error) => return Err(error),
            Err(_) => {}
        }
    }
}
