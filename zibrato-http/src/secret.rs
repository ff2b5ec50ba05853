//! What only the service may see.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::Error;

const MOST_BYTES: u64 = 4096;
/// A shorter secret could be part of any word.
const LEAST_HIDDEN: usize = 6;

/// A token or a password, which shows itself to nobody: neither `Debug` nor any message has it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    what: &'static str,
    text: String,
}

impl Secret {
    /// A secret, `what` being its kind, as in `token`; blanks and line ends around it do not count.
    pub fn new(what: &'static str, text: &str) -> Secret {
        Secret { what, text: text.trim().to_owned() }
    }

    /// Reads it from a file that has nothing else in it.
    ///
    /// # Errors
    /// When the file cannot be read, is empty, or has more than 4096 bytes.
    pub fn from_file(what: &'static str, path: &Path) -> Result<Secret, Error> {
        let bad = |why: String| Error::SecretFile { what, path: path.to_owned(), why };
        let mut text = String::new();
        let file = File::open(path).map_err(|why| bad(why.to_string()))?;
        file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(|why| bad(why.to_string()))?;
        let secret = Secret::new(what, &text);
        if text.len() as u64 > MOST_BYTES {
            return Err(bad(format!("it is longer than {MOST_BYTES} bytes, so it is no {what}")));
        }
        if secret.text.is_empty() {
            return Err(bad("it is empty".into()));
        }
        Ok(secret)
    }

    /// Reads it from an environment variable; `None` where that is not set or is empty.
    pub fn from_environment(what: &'static str, variable: &str) -> Option<Secret> {
        let secret = Secret::new(what, &std::env::var(variable).ok()?);
        (!secret.text.is_empty()).then_some(secret)
    }

    /// The secret itself, for the service alone.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The text without the secret, should it be in it; secrets of less than 6 bytes are not looked for.
    pub fn hide_in(&self, text: &str) -> String {
        if self.text.len() < LEAST_HIDDEN {
            return text.to_owned();
        }
        text.replace(&self.text, &format!("({})", self.what))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({}, not shown)", self.what)
    }
}

/// Where a secret is to be had, again after every failure: it may have been changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretPlace {
    /// What it is, as in `token`.
    pub what: &'static str,
    /// A file with nothing else in it, which goes before the variable.
    pub file: Option<PathBuf>,
    /// The name of an environment variable.
    pub variable: &'static str,
}

impl SecretPlace {
    /// Reads the secret; `None` where there is no file and the variable is not set or empty.
    ///
    /// # Errors
    /// When there is a file and it cannot be used.
    pub fn read(&self) -> Result<Option<Secret>, Error> {
        match &self.file {
            Some(path) => Secret::from_file(self.what, path).map(Some),
            None => Ok(Secret::from_environment(self.what, self.variable)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_and_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        let place = SecretPlace { what: "token", file: Some(file.clone()), variable: "ZIBRATO_HTTP_NO_SUCH" };
        let why = place.read().unwrap_err().to_string();
        assert!(why.starts_with("read the token file ") && why.contains("No such file"), "{why}");
        std::fs::write(&file, " \n").unwrap();
        assert!(place.read().unwrap_err().to_string().ends_with(": it is empty"));
        std::fs::write(&file, "x".repeat(5000)).unwrap();
        assert!(place.read().unwrap_err().to_string().ends_with("so it is no token"));
        std::fs::write(&file, "s3cr3t-t0ken\n").unwrap();
        let secret = place.read().unwrap().unwrap();
        assert_eq!(secret.reveal(), "s3cr3t-t0ken");
        assert_eq!(format!("{secret:?}"), "Secret(token, not shown)");
        assert_eq!(secret.hide_in("bad s3cr3t-t0ken!"), "bad (token)!");
        assert_eq!(Secret::new("password", "bad").hide_in("bad!"), "bad!");
        assert_eq!(SecretPlace { file: None, ..place }.read(), Ok(None));
    }
}
