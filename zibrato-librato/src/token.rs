//! The secret.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::Error;

/// The environment variable that a token is read from.
pub(crate) const VARIABLE: &str = "LIBRATO_TOKEN";
const MOST_BYTES: u64 = 4096;

/// An API token, which shows itself to nobody: neither `Debug` nor any message has it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token; blanks and line ends around it do not count.
    pub fn new(token: &str) -> Token {
        Token(token.trim().to_owned())
    }

    /// Reads it from a file that has nothing else in it.
    ///
    /// # Errors
    /// When the file cannot be read, is empty, or is too large for a token.
    pub fn from_file(path: &Path) -> Result<Token, Error> {
        let bad = |why: String| Error::TokenFile { path: path.to_owned(), why };
        let mut text = String::new();
        let file = File::open(path).map_err(|why| bad(why.to_string()))?;
        file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(|why| bad(why.to_string()))?;
        let token = Token::new(&text);
        if text.len() as u64 > MOST_BYTES {
            return Err(bad(format!("it is longer than {MOST_BYTES} bytes, so it is no token")));
        }
        if token.0.is_empty() {
            return Err(bad("it is empty".into()));
        }
        Ok(token)
    }

    /// Reads it from the environment variable `LIBRATO_TOKEN`; `None` where that is not set or is empty.
    pub fn from_environment() -> Option<Token> {
        let token = Token::new(&std::env::var(VARIABLE).ok()?);
        (!token.0.is_empty()).then_some(token)
    }

    pub(crate) fn secret(&self) -> &str {
        &self.0
    }

    /// The text without the token, should it be in it.
    pub(crate) fn hide_in(&self, text: &str) -> String {
        // A token this short could be part of any word.
        if self.0.len() < 6 { text.to_owned() } else { text.replace(&self.0, "(token)") }
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(not shown)")
    }
}
