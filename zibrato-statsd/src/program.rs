//! The worker's part of a program.

use zibrato_worker::{BackendOptions, OpenError};

use crate::{Options, Statsd};

impl BackendOptions for Options {
    type Backend = Statsd;
    const ABOUT: &'static str = "Send to a StatsD daemon";
    const EXAMPLES: &'static str = "\
--address udp://127.0.0.1:8125
--address tcp://statsd.example.org --flush 10
--address unixgram:///var/run/datadog/dsd.socket --dialect dogstatsd
--dry-run           print what would be sent";

    fn open(self, _: &zibrato_worker::Options) -> Result<Statsd, OpenError> {
        Ok(Statsd::new(self)?)
    }
}
