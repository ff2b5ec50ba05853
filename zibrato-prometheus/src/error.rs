//! What can be wrong before anything is sent.

use std::net::SocketAddr;

/// Why a backend cannot start. Each message fits after "failed to".
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The address for scrapes cannot be listened at.
    Listen {
        /// Which address.
        address: SocketAddr,
        /// What is wrong with it.
        why: String,
    },
    /// A user was given, but no password.
    NoPassword,
    /// A secret cannot be read, or the HTTP client cannot be set up.
    Http(zibrato_http::Error),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Listen { address, why } => {
                write!(f, "listen at {address}: {why}; give another address with --listen")
            }
            Error::NoPassword => {
                f.write_str("log in: no password; give --password-file or set REMOTE_WRITE_PASSWORD")
            }
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
