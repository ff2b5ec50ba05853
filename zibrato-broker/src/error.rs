use std::path::PathBuf;

/// Why the broker cannot start. The message fits after "failed to".
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A port cannot be listened on.
    Listen {
        /// The address.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// No three (or two) ports that follow each other are free, or a port is beyond 65533.
    NoPorts {
        /// The first one that was asked for; 0 is any.
        port: u16,
    },
    /// The state directory cannot be used.
    State {
        /// The file.
        file: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another broker uses the state directory.
    StateInUse {
        /// The file.
        file: PathBuf,
    },
    /// No state directory is given, and none can be derived from the environment.
    NoState,
    /// A part of the broker ended by itself.
    Failed,
    /// The admin port cannot be served.
    Admin(zibrato_admin::Error),
    /// Other hosts could connect, and nothing is encrypted.
    Unprotected {
        /// The address.
        address: String,
    },
    /// The keys or the allowed identities cannot be read.
    Keys(zibrato_keys::Error),
    /// The signal handlers or the runtime cannot be set up.
    Setup(std::io::Error),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Listen { address, source } => {
                write!(
                    f,
                    "listen on {address}: {source}; is another broker running? --port takes another one"
                )
            }
            Error::NoPorts { port } => {
                write!(f, "find free ports from {port} on: the broker needs ports that follow each other")
            }
            Error::State { file, source } => {
                write!(
                    f,
                    "use the state file {}: {source}; --state names another directory, or none",
                    file.display()
                )
            }
            Error::StateInUse { file } => {
                write!(
                    f,
                    "use the state file {}: another broker has it; --state names another directory",
                    file.display()
                )
            }
            Error::NoState => f.write_str(
                "find a state directory: neither HOME nor XDG_STATE_HOME is set; use --state DIR, or none",
            ),
            Error::Failed => f.write_str("go on: a part of the broker ended by itself, the log says why"),
            Error::Unprotected { address } => {
                write!(
                    f,
                    "listen on {address}: whoever reaches it could send and read; --keys and --allow let in whom you \
                     name, --insecure everybody"
                )
            }
            Error::Keys(source) => source.fmt(f),
            Error::Admin(source) => source.fmt(f),
            Error::Setup(source) => write!(f, "set up the process: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Listen { source, .. } => Some(source),
            Error::State { source, .. } => Some(&**source),
            Error::Keys(source) => Some(source),
            Error::Admin(source) => source.source(),
            Error::Setup(source) => Some(source),
            _ => None,
        }
    }
}
