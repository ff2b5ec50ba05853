//! A local HTTP endpoint in Librato's place, for tests and for trying things out.
//!
//! It checks every request against the rules that Librato documents, stores what is right by series and time, later
//! submissions overwriting earlier ones, and adds up what it holds. It can be told to misbehave: see [`Step`].
//!
//! ```no_run
//! use zibrato_librato::endpoint::{Config, Endpoint};
//!
//! let endpoint = Endpoint::start(Config::default())?;
//! endpoint.script("503,429:1,lose".parse::<zibrato_librato::endpoint::Script>()?);
//! // … a worker with `--url`, `endpoint.url()`, user `me@example.com` and token `tok` …
//! assert_eq!(endpoint.violations(), Vec::<String>::new());
//! assert_eq!(endpoint.total("calls", "web1").value.whole(), Some(3));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! By hand, `zibrato-librato-endpoint` serves the same, and beside it `GET /totals`, `GET /violations` and
//! `POST /script` (body: a [`Script`]), none of which asks for a password.

mod answer;
mod decimal;
mod rules;
mod script;
mod store;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

pub use decimal::Decimal;
pub use rules::Violation;
pub use script::{BadStep, Script, Step};
pub use store::{Stored, Totals};

/// How the endpoint is set up; the default suits tests.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens; `127.0.0.1` and a free port by default.
    pub listen: SocketAddr,
    /// The user it lets in, `me@example.com` by default.
    pub username: String,
    /// The user's token, `tok` by default.
    pub token: String,
    /// How far back a measurement may lie, 120 minutes by default.
    pub oldest: Duration,
    /// How a 400 says which measurement is wrong; [`Blame::Entry`] by default.
    pub blame: Blame,
    /// Whether `/v1/measurements` stores the good measurements of a request that has bad ones, answering 207;
    /// `false` by default.
    pub partial: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            username: "me@example.com".into(),
            token: "tok".into(),
            oldest: Duration::from_secs(120 * 60),
            blame: Blame::Entry,
            partial: false,
        }
    }
}

/// How a 400 says which measurement is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// By its place: `{"errors":{"params":{"gauges[3].value":["is not a finite number"]}}}`.
    Entry,
    /// By the metric's name in a sentence, as Librato does for a metric of another type.
    Name,
    /// Just the parameter, as Librato does for most: `{"errors":{"params":{"value":[…]}}}`.
    Parameter,
}

/// A submission that arrived; the endpoint remembers the last 1,000.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its path, as in `/v1/metrics`.
    pub path: String,
    /// Its headers, names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: String,
    /// What it was answered, 0 where the connection was closed instead.
    pub status: u16,
    /// Which rules it broke.
    pub violations: Vec<Violation>,
}

const MOST_REQUESTS: usize = 1_000;
const MOST_VIOLATIONS: usize = 1_000;

#[derive(Debug, Default)]
struct State {
    store: store::Store,
    script: VecDeque<Step>,
    poisoned: HashSet<String>,
    requests: VecDeque<Request>,
    received: u64,
    violations: Vec<String>,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    state: Mutex<State>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running endpoint, on a thread of its own; ends when it is dropped.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Endpoint {
    /// Starts to listen; requests are answered from now on. Needs no async runtime around it.
    ///
    /// # Errors
    /// When the address cannot be bound or no thread can be started.
    pub fn start(config: Config) -> io::Result<Endpoint> {
        let listener = TcpListener::bind(config.listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { config, state: Mutex::default() });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("librato-endpoint".into()).spawn(move || {
            runtime.block_on(async move {
                tokio::spawn(serve(listener, serving));
                // A sender that is gone says the same.
                let _ = stopped.await;
            });
        })?;
        Ok(Endpoint { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// What `--url` takes.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds steps for the submissions to come.
    pub fn script(&self, steps: impl IntoIterator<Item = Step>) {
        self.shared.state().script.extend(steps);
    }

    /// How many steps are still to come.
    pub fn steps_left(&self) -> usize {
        self.shared.state().script.len()
    }

    /// Refuses a metric from now on, whatever is sent of it, as Librato does when its type is another; this is
    /// no violation.
    pub fn poison(&self, name: &str) {
        self.shared.state().poisoned.insert(name.to_lowercase());
    }

    /// What is stored of one metric and source (of `/v1/measurements`: the tag `source`), in any case; all zero
    /// where there is nothing.
    pub fn total(&self, name: &str, source: &str) -> Totals {
        let key = (name.to_lowercase(), source.to_lowercase());
        self.totals().get(&key).copied().unwrap_or_default()
    }

    /// What is stored, by name and source.
    pub fn totals(&self) -> BTreeMap<(String, String), Totals> {
        self.shared.state().store.totals()
    }

    /// Every stored measurement, sorted by name, source, tags and time.
    pub fn stored(&self) -> Vec<Stored> {
        self.shared.state().store.stored()
    }

    /// How many measurements have overwritten an earlier one.
    pub fn overwritten(&self) -> u64 {
        self.shared.state().store.overwritten
    }

    /// Which rules were broken, a line each, the first 1,000.
    pub fn violations(&self) -> Vec<String> {
        self.shared.state().violations.clone()
    }

    /// The last 1,000 submissions.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.iter().cloned().collect()
    }

    /// How many submissions have arrived.
    pub fn received(&self) -> u64 {
        self.shared.state().received
    }

    /// Blocks until the endpoint ends, which it does not by itself.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic of the serving thread is on stderr already.
            let _ = thread.join();
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended before.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: tokio::net::TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| answer::answer(Arc::clone(&shared), request));
            // An error means that the connection is closed, which a step may have asked for.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
