//! What can be wrong before anything is sent.

use std::path::PathBuf;

/// Why nothing can be sent. Each message fits after "failed to".
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The file with a secret cannot be used.
    SecretFile {
        /// What is in it, as in `token`.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A secret, or the user name beside it, makes no header.
    Header {
        /// What makes none.
        what: &'static str,
    },
    /// The HTTP client cannot be set up.
    Client {
        /// What is wrong.
        why: String,
    },
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::SecretFile { what, path, why } => {
                write!(f, "read the {what} file {}: {why}", path.display())
            }
            Error::Header { what } => write!(f, "set up the HTTP client: {what} make no header"),
            Error::Client { why } => write!(f, "set up the HTTP client: {why}"),
        }
    }
}

impl std::error::Error for Error {}
