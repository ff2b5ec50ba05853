//! What can be wrong before anything is sent.

use std::path::PathBuf;

/// Why the backend cannot start. Each message fits after "failed to".
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The headers with secrets cannot be used.
    Headers {
        /// Where they were read from: a file, or an environment variable.
        from: PathBuf,
        /// What is wrong with them, without their values.
        why: String,
    },
    /// The HTTP client cannot be set up.
    Http(zibrato_http::Error),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Headers { from, why } => write!(f, "read the headers of {}: {why}", from.display()),
            Error::Http(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<zibrato_http::Error> for Error {
    fn from(why: zibrato_http::Error) -> Self {
        Error::Http(why)
    }
}
