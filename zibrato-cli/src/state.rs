//! `zibrato state`: work on the state directories of workers.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use zibrato_worker::Backend;

use crate::backends::Reshard;
use crate::failure::Failure;
use crate::output::Output;

const AFTER_HELP: &str = "\
Examples:
  zibrato state reshard librato --old all --new 1-of-2 2-of-2
  zibrato state reshard librato --old 1-of-2 2-of-2 --new all";

pub(crate) const RESHARD_HELP: &str = "\
Stop all workers of the old directories first, and give all of their directories. Start the new workers with
--shard 1/N to N/N in the order of the new directories. Nothing is sent twice or left out; should it be
interrupted, the same command goes on where it stopped.";

/// The options of `zibrato state`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Move the state of workers that share a load to another number of workers; with the options they run with
    #[command(subcommand, after_help = RESHARD_HELP)]
    Reshard(Reshard),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Directories {
    /// The state directories of all present workers
    #[arg(long, required = true, num_args = 1.., value_name = "DIR")]
    old: Vec<PathBuf>,

    /// New state directories, one for each worker to come
    #[arg(long, required = true, num_args = 1.., value_name = "DIR")]
    new: Vec<PathBuf>,
}

pub(crate) fn main(options: Options) -> Result<ExitCode, Failure> {
    match options.command {
        Command::Reshard(backend) => backend.main(),
    }
}

pub(crate) fn reshard<B: Backend>(directories: &Directories, backend: &B) -> Result<ExitCode, Failure> {
    let old: Vec<&Path> = directories.old.iter().map(PathBuf::as_path).collect();
    let new: Vec<&Path> = directories.new.iter().map(PathBuf::as_path).collect();
    let done = zibrato_worker::reshard(&old, &new, backend).map_err(|why| Failure::To(why.to_string()))?;
    Output::new().line(&format!(
        "moved {} instances, {} metrics and {} unsent batches from {} to {} directories",
        done.instances,
        done.metrics,
        done.batches,
        old.len(),
        new.len()
    ))?;
    Ok(ExitCode::SUCCESS)
}
