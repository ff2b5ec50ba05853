//! A recorder for the facade [`metrics`](https://docs.rs/metrics): what is counted, set and recorded through its
//! macros, in whatever library of the program, is measured by Zibrato.
//!
//! ```
//! use zibrato::bridge::metrics::recorder;
//! use zibrato::testing::capture;
//!
//! let recorder = recorder().level("hyper::*", "debug").name_level("db.*", "trace").build()?;
//! let ((), captured) = capture(|| {
//!     metrics::with_local_recorder(&recorder, || {
//!         metrics::counter!("requests", "method" => "GET").increment(1);
//!         metrics::counter!("db.queries").increment(3);
//!         metrics::histogram!("response_size").record(512);
//!     });
//! });
//! assert_eq!(captured.at_level("info").with_tag("method", "GET").count("requests"), 1);
//! assert_eq!(captured.at_level("trace").count("db.queries"), 3);
//! assert_eq!(captured.sum("response_size"), 512.0);
//! # Ok::<(), zibrato::bridge::BridgeError>(())
//! ```
//!
//! | `metrics` | Zibrato |
//! |---|---|
//! | counter, `increment` | counter |
//! | counter, `absolute` | the counter is raised to the value, and never falls; what is incremented beside comes on top |
//! | gauge | gauge |
//! | histogram | distribution; durations are seconds, as `metrics` has them |
//! | label | tag; of several with one name the last one, and none where the value is empty |
//! | unit and description | [`describe`](crate::describe()), with the unit in UCUM notation |
//! | level | the level of the same name, unless a rule says otherwise |
//!
//! A key that cannot be used, for a name that is empty or too long or for more labels than 16, is counted in
//! `zibrato.bad_name`; a value that is not finite is refused, and counted in `zibrato.refused`. Nothing panics.
//!
//! The macros ask for their metric at every call. Each thread remembers what it asked for, up to 8192 metrics, so that
//! only the first call takes a lock; what no thread has asked for in a minute or two, and nobody holds, is let go.
//!
//! The libraries must use the version of `metrics` that this feature is built with, 0.24.

mod absolute;
mod cache;
mod instrument;
mod recorder;
mod unit;

pub use recorder::{Builder, Recorder, recorder};
