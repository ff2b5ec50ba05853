use std::net::SocketAddr;

/// Why the admin port cannot be served. The message fits after "failed to".
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be read or looked up.
    Address {
        /// As it was given.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// The address is not on loopback, and nobody has agreed to that.
    Exposed {
        /// Where it would have listened.
        address: SocketAddr,
    },
    /// The port cannot be listened on.
    Listen {
        /// As it was given.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The thread cannot be started.
    Start(std::io::Error),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Address { address, why } => {
                write!(f, "use the admin address {address:?}: {why}; write HOST:PORT, as in 127.0.0.1:9550")
            }
            Error::Exposed { address } => write!(
                f,
                "open the admin port at {address}: whoever reaches it reads everything there, unencrypted; \
                 --admin-insecure allows that"
            ),
            Error::Listen { address, source } => write!(f, "open the admin port at {address}: {source}"),
            Error::Start(source) => write!(f, "start the thread of the admin port: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Listen { source, .. } | Error::Start(source) => Some(source),
            Error::Address { .. } | Error::Exposed { .. } => None,
        }
    }
}
