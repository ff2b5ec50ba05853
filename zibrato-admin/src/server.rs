//! The admin port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Release};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;
use tokio::sync::watch;

use crate::address;
use crate::error::Error;
use crate::exposition::exposition;
use crate::http_server::{HttpLimits, HttpServer};
use crate::options::Options;
use crate::part::Part;

const LIMITS: HttpLimits = HttpLimits { connections: 64, connection: Duration::from_secs(15) };
/// How long `/metrics` and `/status` may be kept waiting by locks of the program.
const PATIENCE: Duration = Duration::from_secs(5);
/// How old their answers may be, so that asking often costs no more than asking now and then.
const FRESH: Duration = Duration::from_millis(200);

const PLAIN: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const INDEX: &str = "/healthz  whether the program works\n/readyz   whether it can do its work at present\n\
                     /metrics  its own metrics\n/status   what it knows of itself\n";

/// A running server; ends when it is dropped. Its thread and runtime are its own, so that it answers when the program's
/// are stuck.
#[derive(Debug)]
pub struct Server(HttpServer);

impl Server {
    /// Listens where the options say, and tells of a part; `None` where they say nothing.
    ///
    /// # Errors
    /// When the address cannot be used or is beyond loopback without consent, or the thread cannot be started.
    pub fn start(options: &Options, part: Arc<dyn Part>) -> Result<Option<Server>, Error> {
        let Some(listener) = address::listen(options)? else { return Ok(None) };
        let answers = Arc::new(Answers::new(part));
        let answer = move |request| {
            let answers = Arc::clone(&answers);
            async move { answers.to(&request).await }
        };
        let server = HttpServer::start("zibrato-admin", listener, LIMITS, answer).map_err(Error::Start)?;
        tracing::info!(address = %server.address(), "the admin port listens");
        Ok(Some(Server(server)))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }
}

struct Answers {
    part: Arc<dyn Part>,
    metrics: Arc<Told>,
    status: Arc<Told>,
}

impl Answers {
    fn new(part: Arc<dyn Part>) -> Answers {
        Answers { part, metrics: Arc::default(), status: Arc::default() }
    }

    async fn to(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n");
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        match request.uri().path() {
            "/healthz" => verdict("healthy", &self.part.troubles()),
            "/readyz" => {
                let mut reasons = self.part.troubles();
                reasons.extend(self.part.lacks());
                verdict("ready", &reasons)
            }
            "/metrics" => {
                let part = Arc::clone(&self.part);
                let make = move || exposition(&part.metrics(), part.help()) + &how_it_is(&*part);
                told(self.metrics.get(make).await, METRICS)
            }
            "/status" => {
                let part = Arc::clone(&self.part);
                told(self.status.get(move || part.status() + "\n").await, JSON)
            }
            "/" => plain(StatusCode::OK, INDEX),
            _ => plain(StatusCode::NOT_FOUND, INDEX),
        }
    }
}

/// An answer that waits for locks, and is made by one thread at a time.
struct Told {
    latest: watch::Sender<Option<(Instant, Bytes)>>,
    is_made: AtomicBool,
}

impl Default for Told {
    fn default() -> Self {
        Told { latest: watch::Sender::new(None), is_made: AtomicBool::new(false) }
    }
}

impl Told {
    /// The answer; `None` where it cannot be had.
    async fn get(self: &Arc<Self>, make: impl FnOnce() -> String + Send + 'static) -> Option<Bytes> {
        let mut latest = self.latest.subscribe();
        let fresh = |latest: &Option<(Instant, Bytes)>| {
            latest.as_ref().filter(|(at, _)| at.elapsed() < FRESH).map(|(_, body)| body.clone())
        };
        if let Some(body) = fresh(&latest.borrow_and_update()) {
            return Some(body);
        }
        if !self.is_made.swap(true, AcqRel) {
            let told = Arc::clone(self);
            // It goes on when the connection that wanted it is gone: others may wait for it.
            tokio::task::spawn_blocking(move || {
                let _made = Made(&told);
                let body = Bytes::from(make());
                told.latest.send_replace(Some((Instant::now(), body)));
            });
        }
        tokio::time::timeout(PATIENCE, latest.changed()).await.ok()?.ok()?;
        latest.borrow().as_ref().map(|(_, body)| body.clone())
    }
}

/// Lets the next answer be made, also after a panic.
struct Made<'a>(&'a Told);

impl Drop for Made<'_> {
    fn drop(&mut self) {
        self.0.is_made.store(false, Release);
        if std::thread::panicking() {
            // Nobody need wait for it.
            self.0.latest.send_replace(None);
        }
    }
}

/// What `/healthz` and `/readyz` say, for who only scrapes.
fn how_it_is(part: &dyn Part) -> String {
    let troubles = part.troubles().is_empty();
    let (healthy, ready) = (u8::from(troubles), u8::from(troubles && part.lacks().is_empty()));
    format!(
        "# HELP zibrato_healthy Whether the loops of the program turn.\n# TYPE zibrato_healthy gauge\n\
         zibrato_healthy {healthy}\n\
         # HELP zibrato_ready Whether the program can do its work.\n# TYPE zibrato_ready gauge\n\
         zibrato_ready {ready}\n"
    )
}

fn verdict(word: &str, reasons: &[String]) -> Response<Full<Bytes>> {
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let json = json!({ word: reasons.is_empty(), "reasons": reasons });
    body(status, JSON, Bytes::from(format!("{json}\n")))
}

fn told(answer: Option<Bytes>, content_type: &'static str) -> Response<Full<Bytes>> {
    match answer {
        Some(answer) => body(StatusCode::OK, content_type, answer),
        None => plain(StatusCode::SERVICE_UNAVAILABLE, "it takes too long to find out; see /healthz\n"),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    body(status, PLAIN, Bytes::from_static(text.as_bytes()))
}

fn body(status: StatusCode, content_type: &'static str, bytes: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
