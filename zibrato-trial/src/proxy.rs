//! A way to a server on which things go wrong as told.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::ports::free_port;
use crate::until::until;

/// What happens to connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    Pass,
    /// Nobody listens, and connections that there are get reset.
    Refuse,
    /// Connections are taken, and nothing moves on them.
    Hang,
    /// So many bytes go to the server (on each connection, from now on), then the client's end is reset; the server
    /// sees an orderly end.
    ResetAfter(u64),
    /// Everything goes to the server, but the client is reset when it begins to answer.
    LoseAnswers,
    /// Both ways carry so many bytes per second.
    Slow(u64),
}

/// A TCP proxy with faults, from a port of its own to a server's.
pub struct Proxy {
    port: u16,
    faults: watch::Sender<Told>,
    applied: watch::Receiver<u64>,
    counts: Arc<Counts>,
    runtime: Option<Runtime>,
}

/// A fault, and its number.
#[derive(Debug, Clone, Copy)]
struct Told {
    number: u64,
    fault: Fault,
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    resets: AtomicU64,
    bytes: AtomicU64,
}

/// The connection is to be reset.
struct Reset;

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and passes everything on to `target` there.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start(target: u16) -> Proxy {
        let port = free_port();
        let (faults, told) = watch::channel(Told { number: 0, fault: Fault::Pass });
        let (report, mut applied) = watch::channel(0);
        applied.mark_unchanged();
        let counts = Arc::new(Counts::default());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        // Not tokio's own, because this thread may belong to another runtime.
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let shared = counts.clone();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            serve(listener, port, target, told, report, shared).await;
        });
        Proxy { port, faults, applied, counts, runtime: Some(runtime) }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What happens from now on, also to connections that there are.
    ///
    /// # Panics
    /// When it has ended by itself.
    pub fn set(&self, fault: Fault) {
        let number = self.faults.borrow().number + 1;
        self.faults.send(Told { number, fault }).unwrap();
        until("the proxy does as it was told", || {
            (*self.applied.borrow() >= number).then_some(()).ok_or_else(|| "it does not yet".to_owned())
        });
    }

    /// [`Fault::Pass`].
    pub fn pass(&self) {
        self.set(Fault::Pass);
    }

    /// [`Fault::Refuse`].
    pub fn refuse(&self) {
        self.set(Fault::Refuse);
    }

    /// [`Fault::Hang`].
    pub fn hang(&self) {
        self.set(Fault::Hang);
    }

    /// [`Fault::ResetAfter`].
    pub fn reset_after(&self, bytes: u64) {
        self.set(Fault::ResetAfter(bytes));
    }

    /// [`Fault::LoseAnswers`].
    pub fn lose_answers(&self) {
        self.set(Fault::LoseAnswers);
    }

    /// [`Fault::Slow`].
    pub fn slow(&self, bytes_per_second: u64) {
        self.set(Fault::Slow(bytes_per_second));
    }

    /// How many connections it has taken.
    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::Relaxed)
    }

    /// How many connections it has reset.
    pub fn resets(&self) -> u64 {
        self.counts.resets.load(Ordering::Relaxed)
    }

    /// How many bytes it has passed on to the server.
    pub fn bytes(&self) -> u64 {
        self.counts.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A runtime must not be waited for within another.
            runtime.shutdown_background();
        }
    }
}

async fn serve(
    listener: TcpListener,
    port: u16,
    target: u16,
    mut told: watch::Receiver<Told>,
    report: watch::Sender<u64>,
    counts: Arc<Counts>,
) {
    let mut listener = Some(listener);
    loop {
        let Told { number, fault } = *told.borrow_and_update();
        if fault == Fault::Refuse {
            listener = None;
        } else if listener.is_none() {
            match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
                Ok(bound) => listener = Some(bound),
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                }
            }
        }
        report.send_replace(number);
        let accept = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = told.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            accepted = accept => {
                if let Ok((client, _)) = accepted {
                    counts.connections.fetch_add(1, Ordering::Relaxed);
                    let mut told = told.clone();
                    told.mark_unchanged();
                    tokio::spawn(connection(client, target, told, counts.clone()));
                }
            }
        }
    }
}

async fn connection(mut client: TcpStream, target: u16, told: watch::Receiver<Told>, counts: Arc<Counts>) {
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else {
        reset(&client, &counts);
        return;
    };
    let (client_out, client_in) = client.split();
    let (server_out, server_in) = server.split();
    let up = Way { from: client_out, to: server_in, told: told.clone(), counts: Some(&counts) };
    let down = Way { from: server_out, to: client_in, told, counts: None };
    if tokio::try_join!(up.run(), down.run()).is_err() {
        reset(&client, &counts);
    }
}

/// Makes the end of a connection, which follows, a reset.
fn reset(client: &TcpStream, counts: &Counts) {
    counts.resets.fetch_add(1, Ordering::Relaxed);
    // It fails only where the connection is gone already.
    let _ = client.set_zero_linger();
}

/// One direction of a connection.
struct Way<'a> {
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    told: watch::Receiver<Told>,
    /// Of the way to the server.
    counts: Option<&'a Counts>,
}

impl Way<'_> {
    async fn run(mut self) -> Result<(), Reset> {
        let mut buffer = vec![0; 16 << 10];
        // What has passed since the fault of this number was set.
        let (mut number, mut passed) = (0, 0);
        loop {
            let read = tokio::select! {
                read = self.from.read(&mut buffer) => read.map_err(|_| Reset)?,
                refused = refusal(self.told.clone()) => return Err(refused),
            };
            if read == 0 {
                // An end does not get through either where nothing does.
                self.told.wait_for(|told| told.fault != Fault::Hang).await.map_err(|_| Reset)?;
                self.to.shutdown().await.map_err(|_| Reset)?;
                return Ok(());
            }
            let mut rest = &buffer[..read];
            while !rest.is_empty() {
                let told = *self.told.borrow_and_update();
                if told.number != number {
                    (number, passed) = (told.number, 0);
                }
                let most = match (told.fault, self.counts) {
                    (Fault::Refuse, _) | (Fault::LoseAnswers, None) => return Err(Reset),
                    (Fault::Hang, _) => {
                        self.told.changed().await.map_err(|_| Reset)?;
                        continue;
                    }
                    (Fault::ResetAfter(limit), Some(_)) if passed >= limit => return Err(Reset),
                    (Fault::ResetAfter(limit), Some(_)) => limit - passed,
                    (Fault::Slow(rate), _) => {
                        let part = (rate / 20).clamp(1, rest.len() as u64);
                        tokio::time::sleep(Duration::from_secs_f64(part as f64 / rate.max(1) as f64)).await;
                        part
                    }
                    _ => rest.len() as u64,
                };
                let (now, later) = rest.split_at(rest.len().min(usize::try_from(most).unwrap_or(usize::MAX)));
                self.to.write_all(now).await.map_err(|_| Reset)?;
                rest = later;
                passed += now.len() as u64;
                if let Some(counts) = self.counts {
                    counts.bytes.fetch_add(now.len() as u64, Ordering::Relaxed);
                    if matches!(told.fault, Fault::ResetAfter(limit) if passed >= limit) {
                        return Err(Reset);
                    }
                }
            }
        }
    }
}

/// Done when connections are to be reset.
async fn refusal(mut told: watch::Receiver<Told>) -> Reset {
    // It ends with the proxy, too.
    let _ = told.wait_for(|told| told.fault == Fault::Refuse).await;
    Reset
}
