//! What can be wrong before anything is sent.

/// Why the backend cannot start. Each message fits after "failed to".
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Neither a database nor a bucket was given.
    NoTarget,
    /// There is a user name and no password.
    NoPassword,
    /// A file with a secret cannot be used, or the HTTP client cannot be set up.
    Http(zibrato_http::Error),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::NoTarget => f.write_str(
                "find where to write: give --database (InfluxDB 1) or --bucket (InfluxDB 2 and 3), or set \
                 INFLUX_DATABASE or INFLUX_BUCKET",
            ),
            Error::NoPassword => {
                f.write_str("log in: no password; give --password-file or set INFLUX_PASSWORD")
            }
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
