//! What can be wrong before anything is sent.

use crate::token;

/// Why the backend cannot start. Each message fits after "failed to".
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// No user name was given.
    NoUsername,
    /// No token was given.
    NoToken,
    /// The token file cannot be used, or the HTTP client cannot be set up.
    Http(zibrato_http::Error),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::NoUsername => f.write_str("log in: no user name; give --username or set LIBRATO_USERNAME"),
            Error::NoToken => write!(f, "log in: no token; give --token-file or set {}", token::VARIABLE),
            Error::Http(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<zibrato_http::Error> for Error {
    fn from(why: zibrato_http::Error) -> Error {
        Error::Http(why)
    }
}
