//! The HTTP server that is scraped. It has a thread of its own, so that neither scrapes nor batches wait for each other.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, VARY,
};
use hyper::{Method, Request, Response, StatusCode};
use zibrato_admin::{HttpLimits, HttpServer};

use super::snapshot::Shelf;
use crate::exposition::{negotiate, takes_gzip};

const LIMITS: HttpLimits = HttpLimits { connections: 128, connection: Duration::from_secs(60) };

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

/// Listens at an address and answers from the shelf until what is returned is dropped.
///
/// # Errors
/// When the address cannot be bound or the thread not be started.
pub(super) fn start(listen: SocketAddr, shelf: Arc<Shelf>) -> io::Result<HttpServer> {
    let answer = move |request| answer(Arc::clone(&shelf), request);
    HttpServer::start("scrapes", TcpListener::bind(listen)?, LIMITS, answer)
}

async fn answer(shelf: Arc<Shelf>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => metrics(shelf, request.headers()).await,
        "/-/healthy" => plain(StatusCode::OK, "Zibrato is healthy.\n"),
        "/-/ready" if shelf.is_ready() => plain(StatusCode::OK, "Zibrato is ready.\n"),
        "/-/ready" => plain(StatusCode::SERVICE_UNAVAILABLE, "no measurements have come yet\n"),
        "/" => body(StatusCode::OK, "text/html; charset=utf-8", Bytes::from_static(INDEX.as_bytes())),
        _ => plain(StatusCode::NOT_FOUND, "there is only /metrics\n"),
    }
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
