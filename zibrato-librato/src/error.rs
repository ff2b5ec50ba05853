//! What can be wrong before anything is sent.

use std::path::PathBuf;

use crate::token;

/// Why the backend cannot start. Each message fits after "failed to".
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The token file cannot be used.
    TokenFile {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No user name was given.
    NoUsername,
    /// No token was given.
    NoToken,
    /// The HTTP client cannot be set up.
    Http(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::TokenFile { path, why } => write!(f, "read the token file {}: {why}", path.display()),
            Error::NoUsername => f.write_str("log in: no user name; give --username or set LIBRATO_USERNAME"),
            Error::NoToken => write!(f, "log in: no token; give --token-file or set {}", token::VARIABLE),
            Error::Http(why) => write!(f, "set up the HTTP client: {why}"),
        }
    }
}

impl std::error::Error for Error {}
