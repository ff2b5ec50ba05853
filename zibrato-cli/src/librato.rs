//! `zibrato librato`: the worker that flushes to Librato-compatible services.

use std::process::ExitCode;

use crate::failure::Failure;

const AFTER_HELP: &str = "\
Examples:
  zibrato librato --username me@example.org --token-file ~/.librato
  zibrato librato --url https://metrics.example.org --api measurements --flush 60
  zibrato librato --dry-run           print what would be sent";

/// The options of `zibrato librato`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Options {
    #[command(flatten)]
    worker: zibrato_worker::Options,
    #[command(flatten)]
    librato: zibrato_librato::Options,
}

pub(crate) fn main(options: Options) -> ExitCode {
    match zibrato_librato::Librato::new(options.librato, options.worker.flush) {
        Ok(backend) => zibrato_worker::main_with(options.worker, backend),
        Err(why) => Failure::To(why.to_string()).report(),
    }
}
