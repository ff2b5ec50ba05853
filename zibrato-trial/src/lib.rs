//! Real servers, faults and known traffic, for the tests of Zibrato's backends.
//!
//! A test of a backend asks whether its server is [installed], starts a [`Server`] with a configuration of its own, puts
//! a [`Proxy`] before it that plays bad days, lets [`Traffic`] measure, runs the worker, and asks the server itself
//! whether what it has are [`Traffic::totals`]:
//!
//! ```no_run
//! use zibrato_trial::{Server, Traffic, free_port, installed, until};
//!
//! if !installed("influxd", "apt-get install influxdb") {
//!     return;
//! }
//! let port = free_port();
//! let server = Server::new("influxd")
//!     .file("influxdb.conf", &format!("[http]\n  bind-address = \"127.0.0.1:{port}\"\n"))
//!     .args(["run", "-config", "influxdb.conf"])
//!     .ready_when_listening(port)
//!     .start();
//! let traffic = Traffic::start();
//! let mut app = traffic.instance("web1");
//! // Here the worker is started with `--broker` and `traffic.broker()`.
//! app.measure();
//! app.publish();
//! let wanted = traffic.totals();
//! until("the server has it all", || {
//!     app.publish();
//!     Err::<(), _>(format!("what the server has is not {}", wanted.requests()))
//! });
//! drop(server);
//! ```
//!
//! Everything is on loopback, in directories of its own, and gone when it is dropped. Nothing here is async, so that it
//! is of use in all kinds of tests; in those of tokio, use a runtime of several threads.
//!
//! Everything panics where it cannot go on, with what happened: this is for tests only.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on is to panic")]

mod carbon;
mod collectd;
mod elastic;
pub mod http;
mod influx;
mod installed;
pub mod otlp;
mod ports;
pub mod prometheus;
mod proxy;
mod rsyslog;
mod server;
mod statsd;
mod traffic;
mod until;
mod victoria;

pub use carbon::{Carbon, Stored};
pub use collectd::Collectd;
pub use elastic::Elastic;
pub use influx::Influx;
pub use installed::{installed, node_module, python, required, servers_directory};
pub use ports::free_port;
pub use proxy::{Fault, Proxy};
pub use rsyslog::Rsyslog;
pub use server::{Server, Setup};
pub use statsd::Statsd;
pub use traffic::{Instance, SOURCE, Totals, Traffic};
pub use until::{PATIENCE, until, until_async};
pub use victoria::Victoria;
