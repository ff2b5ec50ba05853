//! Headers that a user adds to every request.

use std::str::FromStr;

use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};

/// A header from the command line, `NAME=VALUE`, for an option `--header`. It is shown to everybody, so it must be no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: HeaderName,
    /// Its value.
    pub value: HeaderValue,
}

/// Headers that the kind of request decides about.
const OURS: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::HOST,
];

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("use the form NAME=VALUE")?;
        let name: HeaderName =
            name.trim().parse().map_err(|_| "the name has characters that no header can have")?;
        if name == header::AUTHORIZATION {
            return Err("what it has is a secret: give it in a file or in the environment".into());
        }
        if OURS.contains(&name) {
            return Err(format!("{name} cannot be set"));
        }
        let value = value.trim().parse().map_err(|_| "the value has characters that no header can have")?;
        Ok(Header { name, value })
    }
}

/// Headers from a text of pairs, `NAME=VALUE,NAME=VALUE`, percent-encoded as `OTEL_EXPORTER_OTLP_HEADERS` has them; marked as
/// not to be shown.
///
/// # Errors
/// What is wrong, without the values.
pub fn secret_headers(text: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for pair in text.split([',', '\n']).map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or("a header is not of the form NAME=VALUE")?;
        let name: HeaderName =
            name.trim().parse().map_err(|_| "the name of a header has characters that none can have")?;
        if OURS.contains(&name) {
            return Err(format!("the header {name} cannot be set"));
        }
        let bad = || format!("the value of the header {name} has characters that none can have");
        let mut value = HeaderValue::from_bytes(&decoded(value.trim())).map_err(|_| bad())?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

/// Percent-decodes a text; what is no code stays.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().iter();
    let mut out = Vec::with_capacity(text.len());
    while let Some(&byte) = bytes.next() {
        let rest = bytes.as_slice();
        let code = rest.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match code.filter(|_| byte == b'%').and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                bytes.nth(1);
            }
            None => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_headers_that_are_no_secrets() {
        let header: Header = "X-Scope-OrgID = team=a".parse().unwrap();
        assert_eq!(
            (header.name.as_str(), header.value),
            ("x-scope-orgid", HeaderValue::from_static("team=a"))
        );
        for bad in ["x", "a b=c", "x=a\nb", "Authorization=Bearer x", "content-type=x", "Host=x", "=x"] {
            assert!(bad.parse::<Header>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn variables_have_several_headers() {
        let headers = secret_headers("api-key=s3cr3t%20x%2c, Authorization=Bearer%20abc,,x=100%").unwrap();
        assert_eq!(headers["api-key"], "s3cr3t x,");
        assert_eq!(headers["authorization"], "Bearer abc");
        assert_eq!(headers["x"], "100%");
        assert!(!format!("{headers:?}").contains("s3cr3t"));
        let why = secret_headers("api-key=s3cr3t\u{1}").unwrap_err();
        assert!(!why.contains("s3cr3t"), "{why}");
        assert!(secret_headers("s3cr3t").is_err_and(|why| !why.contains("s3cr3t")));
    }
}
