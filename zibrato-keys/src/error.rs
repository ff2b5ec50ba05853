//! What can go wrong with keys and their files.

use std::path::PathBuf;

/// Something that failed; its text fits after "failed to".
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The system has no randomness to make a key of.
    Random {
        /// What the system says.
        why: String,
    },
    /// A certificate file cannot be read, or has no key that can be used.
    Key {
        /// The file.
        path: PathBuf,
        /// The line that is wrong, from 1; `None` where it is the whole file.
        line: Option<usize>,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A file cannot be written.
    Write {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The file of allowed identities cannot be used.
    Allowed {
        /// The file.
        path: PathBuf,
        /// The line that is wrong, from 1; `None` where it is the whole file.
        line: Option<usize>,
        /// Whose table it is; `None` where it is nobody's.
        identity: Option<String>,
        /// What is wrong, and what to do.
        why: String,
    },
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = |line: &Option<usize>| line.map_or(String::new(), |line| format!(":{line}"));
        match self {
            Error::Random { why } => write!(f, "make a key: no randomness: {why}"),
            Error::Key { path, line, why } => write!(f, "read key {}{}: {why}", path.display(), at(line)),
            Error::Write { path, why } => write!(f, "write {}: {why}", path.display()),
            Error::Allowed { path, line, identity, why } => {
                write!(f, "read allowed identities {}{}: ", path.display(), at(line))?;
                match identity {
                    Some(identity) => write!(f, "{identity}: {why}"),
                    None => f.write_str(why),
                }
            }
        }
    }
}

impl std::error::Error for Error {}
