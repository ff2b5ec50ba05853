//! An axum service that measures its handlers.
//!
//! Start a broker and watch what passes, each in a terminal of its own:
//!
//!     cargo run -p zibrato-cli -- broker
//!     cargo run -p zibrato-cli -- tail
//!
//! and then, with an address to listen on (127.0.0.1:3000 if not given) and a number of requests after which to end
//! (none if not given; Ctrl-C always ends it):
//!
//!     cargo run -p zibrato-examples --example web -- 127.0.0.1:3000
//!     curl http://127.0.0.1:3000/square/12
//!     curl http://127.0.0.1:3000/square/a-dozen
//!     curl http://127.0.0.1:3000/slow

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use tokio::sync::Notify;
use zibrato::{count, time_me, updown};

/// With `outcome`, a handler has one timer for what went well and one for what did not.
#[time_me(name = "web.square", outcome)]
async fn square(Path(number): Path<String>) -> Result<String, (StatusCode, String)> {
    let bad = |why| (StatusCode::BAD_REQUEST, format!("{number}: {why}\n"));
    let number: i32 = number.parse().map_err(|why: std::num::ParseIntError| bad(why.to_string()))?;
    Ok(format!("{}\n", i64::from(number) * i64::from(number)))
}

/// A client that goes away before the end is counted in `web.slow.cancelled`.
#[time_me(name = "web.slow", tags(reason = "sleep"))]
async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_millis(200)).await;
    "done at last\n"
}

/// Counts down to the end of the service.
struct Countdown {
    left: AtomicU64,
    over: Notify,
}

/// What all requests have in common.
async fn measured(State(countdown): State<Arc<Countdown>>, request: Request, next: Next) -> Response {
    updown!("web.open_requests", 1);
    let response = next.run(request).await;
    updown!("web.open_requests", -1);
    // The number of different statuses is small, so each may have a metric of its own.
    zibrato::counter("web.responses").tag("status", response.status().as_str()).handle().add(1);
    if countdown.left.fetch_sub(1, Relaxed) == 1 {
        countdown.over.notify_one();
    }
    response
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Keep the guard: when it is dropped, at the end of main, the last totals are delivered.
    let _zibrato = zibrato::install()?;
    count!("web.starts");

    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3000".into());
    let requests = arguments.next().map_or(Ok(u64::MAX), |number| number.parse())?;
    let countdown = Arc::new(Countdown { left: AtomicU64::new(requests), over: Notify::new() });
    let service = Router::new()
        .route("/square/{number}", get(square))
        .route("/slow", get(slow))
        .layer(from_fn_with_state(countdown.clone(), measured));
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let end = async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            () = countdown.over.notified() => {}
        }
    };
    axum::serve(listener, service).with_graceful_shutdown(end).await?;
    Ok(())
}
