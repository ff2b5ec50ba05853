//! The secret.

use std::path::Path;

use zibrato_http::Secret;

use crate::Error;

/// The environment variable that a token is read from.
pub(crate) const VARIABLE: &str = "LIBRATO_TOKEN";
const WHAT: &str = "token";

/// An API token, which shows itself to nobody: neither `Debug` nor any message has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token(Secret);

impl Token {
    /// A token; blanks and line ends around it do not count.
    pub fn new(token: &str) -> Token {
        Token(Secret::new(WHAT, token))
    }

    /// Reads it from a file that has nothing else in it.
    ///
    /// # Errors
    /// When the file cannot be read, is empty, or is too large for a token.
    pub fn from_file(path: &Path) -> Result<Token, Error> {
        Ok(Token(Secret::from_file(WHAT, path)?))
    }

    /// Reads it from the environment variable `LIBRATO_TOKEN`; `None` where that is not set or is empty.
    pub fn from_environment() -> Option<Token> {
        Secret::from_environment(WHAT, VARIABLE).map(Token)
    }

    pub(crate) fn secret(&self) -> &Secret {
        &self.0
    }
}
