//! The Zibrato worker that writes lines of JSON, one for each measurement: to standard output, to a file, or to an HTTP
//! endpoint.
//!
//! [`Json`] is the [`Backend`](zibrato_worker::Backend); [`Options`] are its part of the command line. It is the simplest
//! backend there is, and the model for writing one. The fields of a line are described in `docs/json.md`.

mod backend;
mod line;
mod options;
mod post;

pub use backend::Json;
pub use options::Options;
