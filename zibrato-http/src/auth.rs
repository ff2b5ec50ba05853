//! Values of the `Authorization` header, marked as not to be shown.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;

use crate::{Error, Secret};

/// A user name and a password, or a token in its place.
///
/// # Errors
/// When they make no header.
pub fn basic(username: &str, password: &Secret) -> Result<HeaderValue, Error> {
    let encoded = STANDARD.encode(format!("{username}:{}", password.reveal()));
    sensitive(&format!("Basic {encoded}"), "user name and token")
}

/// A token alone, after the word that the service wants before it: `Bearer` or `Token`.
///
/// # Errors
/// When it has characters that a header cannot have.
pub fn bearer(scheme: &str, token: &Secret) -> Result<HeaderValue, Error> {
    sensitive(&format!("{scheme} {}", token.reveal()), "the token's characters")
}

fn sensitive(text: &str, what: &'static str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::try_from(text).map_err(|_| Error::Header { what })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_as_the_services_want_them_and_hidden() {
        let token = Secret::new("token", "open sesame");
        let value = basic("Aladdin", &token).unwrap();
        assert_eq!(value, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(format!("{value:?}"), "Sensitive");
        assert_eq!(bearer("Token", &token).unwrap(), "Token open sesame");
        assert!(bearer("Bearer", &Secret::new("token", "two\nlines")).is_err());
    }
}
