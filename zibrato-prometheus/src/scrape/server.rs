//! The HTTP server that is scraped. It has a thread of its own, so that neither scrapes nor batches wait for each other.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, VARY,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, oneshot};

use super::snapshot::Shelf;
use crate::exposition::{negotiate, takes_gzip};

/// Most connections at once; more wait.
const MOST_CONNECTIONS: usize = 128;
/// How long the head of a request may take, and how long a connection may idle.
const PATIENCE: Duration = Duration::from_secs(30);

const INDEX: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<title>Zibrato</title>
<h1>Zibrato for Prometheus</h1>
<ul>
<li><a href=\"/metrics\">/metrics</a>: what is measured
<li><a href=\"/-/healthy\">/-/healthy</a>, <a href=\"/-/ready\">/-/ready</a>: how this program is
</ul>
";

/// A running server; ends when it is dropped.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens at an address and answers from the shelf.
    ///
    /// # Errors
    /// When the address cannot be bound or the thread not be started.
    pub(super) fn start(listen: SocketAddr, shelf: Arc<Shelf>) -> io::Result<Server> {
        let listener = TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("scrapes".into()).spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    () = serve(listener, shelf) => {}
                    // A sender that is gone says the same.
                    _ = stopped => {}
                }
            });
            // Answers that are being written must not hold up the end.
            runtime.shutdown_background();
        })?;
        Ok(Server { address, stop: Some(stop), thread: Some(thread) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
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

async fn serve(listener: tokio::net::TcpListener, shelf: Arc<Shelf>) {
    let connections = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        // It is never closed.
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Too many open files, mostly.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let shelf = Arc::clone(&shelf);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(Arc::clone(&shelf), request));
            // An error means that the other end has gone or speaks something else.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            drop(permit);
        });
    }
}

async fn answer(shelf: Arc<Shelf>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(response);
    }
    Ok(match request.uri().path() {
        "/metrics" => metrics(shelf, request.headers()).await,
        "/-/healthy" => plain(StatusCode::OK, "Zibrato is healthy.\n"),
        "/-/ready" if shelf.is_ready() => plain(StatusCode::OK, "Zibrato is ready.\n"),
        "/-/ready" => plain(StatusCode::SERVICE_UNAVAILABLE, "no measurements have come yet\n"),
        "/" => body(StatusCode::OK, "text/html; charset=utf-8", Bytes::from_static(INDEX.as_bytes())),
        _ => plain(StatusCode::NOT_FOUND, "there is only /metrics\n"),
    })
}

async fn metrics(shelf: Arc<Shelf>, headers: &HeaderMap) -> Response<Full<Bytes>> {
    let format = negotiate(&joined(headers, ACCEPT));
    let gzip = takes_gzip(&joined(headers, ACCEPT_ENCODING));
    let write = move || shelf.snapshot(Instant::now()).body(format, gzip, &shelf.style);
    let Ok(bytes) = tokio::task::spawn_blocking(write).await else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "the measurements could not be written\n");
    };
    let mut response = body(StatusCode::OK, format.content_type(), bytes);
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
    if gzip {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// All values of a header that may be there several times.
fn joined(headers: &HeaderMap, name: HeaderName) -> String {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    body(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

fn body(status: StatusCode, content_type: &'static str, bytes: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
