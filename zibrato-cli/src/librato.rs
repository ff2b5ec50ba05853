//! `zibrato librato`: the worker that flushes to Librato-compatible services.

use std::process::ExitCode;

const AFTER_HELP: &str = "\
Examples:
  zibrato librato --username me@example.org --token-file ~/.librato
  zibrato librato --url https://metrics.example.org --api measurements --flush 60
  zibrato librato --dry-run           print what would be sent";

/// The options of `zibrato librato`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
// Of the same name as what is flattened into it, and it needs none.
#[group(skip)]
pub(crate) struct Options {
    #[command(flatten)]
    worker: zibrato_worker::Options,
    #[command(flatten)]
    librato: zibrato_librato::Options,
}

pub(crate) fn main(options: Options) -> ExitCode {
    zibrato_librato::main_with(options.worker, options.librato)
}
