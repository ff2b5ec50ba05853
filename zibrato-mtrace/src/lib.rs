//! The Zibrato worker that writes down what every hop tells of traced metrics, a line for each row and hop: to standard
//! output, to a file, to syslog, or to an Elasticsearch-compatible bulk endpoint.
//!
//! [`Mtrace`] is the [`Backend`](zibrato_worker::Backend); [`Options`] are its part of the command line. What is written
//! [`parse`] reads back, and the older forms of such lines, too.
//!
//! ```
//! let line = r#"{"time":"2026-01-02T03:04:05Z","hop":"published","verdict":"ok","metric":"requests","kind":"counter","#
//!     .to_owned()
//!     + r#""value":5231,"source":"web1","tags":{},"level":"info","instance":"30313233343536373839616263646566","#
//!     + r#""sequence":7,"trace":3,"by":"web1"}"#;
//! let zibrato_mtrace::Parsed::Line(parsed) = zibrato_mtrace::parse(&line)? else { panic!() };
//! assert_eq!((parsed.metric.as_str(), parsed.value.whole), ("requests", 5231));
//! # Ok::<(), zibrato_mtrace::BadLine>(())
//! ```

mod backend;
mod bulk;
mod format;
mod json;
mod line;
mod options;
mod parse;
mod syslog;
mod text;

pub use backend::Mtrace;
pub use bulk::IndexPattern;
pub use format::Format;
pub use line::Line;
pub use options::Options;
pub use parse::{BadLine, OldForm, OldLine, Parsed, Step, parse};
pub use syslog::Target;
