//! What can be wrong before anything is sent.

/// Why the backend cannot start. Each message fits after "failed to".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Datadog's gauges are only ever set.
    UpdownGauge,
    /// Only Datadog's agent takes times.
    Timestamps,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Error::UpdownGauge => {
                "send updown counters as gauges in the dialect dogstatsd, whose gauges cannot be raised and lowered; use \
                 --updown counter"
            }
            Error::Timestamps => "send times, which only the dialect dogstatsd has; leave out --timestamps",
        })
    }
}

impl std::error::Error for Error {}
