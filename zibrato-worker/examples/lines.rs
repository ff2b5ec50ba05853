//! The smallest worker: prints what counters increased by, and until when. A line that comes again after a crash is the
//! same to the last letter.
//!
//! `cargo run -p zibrato-worker --example lines -- --flush 1`

use std::process::ExitCode;

use zibrato_worker::{
    Accepted, Backend, BackendError, BackendOptions, Batch, OpenError, Options, Value, main_of,
};

struct Lines;

impl Backend for Lines {
    const NAME: &'static str = "lines";

    async fn send(&mut self, batch: &Batch) -> Result<Accepted, BackendError> {
        print!("{}", self.render(batch));
        Ok(Accepted::All)
    }

    fn render(&self, batch: &Batch) -> String {
        let increases = batch.measurements.iter().filter_map(|measurement| match &measurement.value {
            Value::Counter(increase) => {
                Some(format!("{} {} {increase}\n", batch.time, measurement.series.name))
            }
            _ => None,
        });
        increases.collect()
    }
}

#[derive(clap::Args)]
#[group(skip)]
struct LinesOptions {}

impl BackendOptions for LinesOptions {
    type Backend = Lines;
    const ABOUT: &'static str = "Print what counters increase by";
    const EXAMPLES: &'static str = "--flush 1";

    fn open(self, _: &Options) -> Result<Lines, OpenError> {
        Ok(Lines)
    }
}

fn main() -> ExitCode {
    main_of::<LinesOptions>()
}
