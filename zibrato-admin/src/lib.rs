//! What a program of Zibrato needs to run as a service: health, readiness and its own metrics over HTTP on an admin port,
//! and systemd's notifications and watchdog, which are fed by the same [`Liveness`].
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200 while the program's loops turn, else 503 with what is stuck |
//! | `/readyz` | 200 while it can do its work, else 503 with what is missing |
//! | `/metrics` | its own metrics, in Prometheus' text format 0.0.4 |
//! | `/status` | what it knows of itself, as JSON |
//!
//! The port is off unless [`Options::admin`] names one, and on loopback unless [`Options::admin_insecure`] says that it
//! may be elsewhere: it asks nobody who they are. Connections, what they may send and how long they may take are bounded,
//! and the server has a thread of its own, so that a program whose loops are stuck still says so. [`HttpServer`] is that
//! server, for others that answer requests.

mod address;
mod error;
mod exposition;
mod http_server;
mod liveness;
mod options;
mod part;
mod server;
mod systemd;

pub use error::Error;
pub use exposition::{Help, exposition, metric_name};
pub use http_server::{HttpLimits, HttpServer};
pub use liveness::{Liveness, Loop, Working};
pub use options::Options;
pub use part::Part;
pub use server::Server;
pub use systemd::{Watchdog, notify_ready, notify_stopping};
