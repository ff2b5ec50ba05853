//! A backend's part of the command line, and the program that follows from it.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};

use crate::backend::Backend;
use crate::options::Options;
use crate::program::main_with;

/// Why a backend cannot be made of its options; the text fits after "failed to".
pub type OpenError = Box<dyn std::error::Error + Send + Sync>;

/// The options of a backend, from which it is made: all that a program, a subcommand of `zibrato` and a section of
/// `zibrato.toml` need to know of it.
///
/// Every option is a long one, and so a key of the backend's section in a configuration file. Secrets are no options:
/// they come from the environment, or from a file that an option names.
pub trait BackendOptions: clap::Args + Send + 'static {
    /// What is made.
    type Backend: Backend;

    /// What the program does, in one sentence without a period, as in "Flush to Librato-compatible services".
    const ABOUT: &'static str;

    /// Examples for `--help`, one in each line, without the program's name.
    const EXAMPLES: &'static str;

    /// Makes the backend; called before anything else is started. Reaching the service is
    /// [`connect`](Backend::connect)'s business. With `worker.dry_run` nothing will be sent, so secrets may be missing.
    ///
    /// # Errors
    /// When the options cannot be meant, a secret is missing, or a file cannot be read.
    fn open(self, worker: &Options) -> Result<Self::Backend, OpenError>;

    /// Whether it could be made, for `zibrato config check`; a worker that runs with the same options must not notice, nor
    /// be in the way. [Makes](Self::open) one by default.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    fn check(self, worker: &Options) -> Result<(), OpenError> {
        self.open(worker).map(drop)
    }
}

/// The command line of a worker program: the options of every worker and those of its backend.
#[derive(Debug, clap::Args)]
// It has no arguments of its own.
#[group(skip)]
pub struct Arguments<O: BackendOptions> {
    /// What every worker can be told.
    #[command(flatten)]
    pub worker: Options,
    /// What the backend can be told.
    #[command(flatten)]
    pub backend: O,
}

impl<O: BackendOptions> Arguments<O> {
    /// Runs the worker until INT, TERM or QUIT.
    pub fn main(self) -> ExitCode {
        match self.backend.open(&self.worker) {
            Ok(backend) => main_with(self.worker, backend),
            Err(why) => {
                eprintln!("zibrato-{}: failed to {why}", O::Backend::NAME);
                ExitCode::FAILURE
            }
        }
    }
}

#[derive(Parser)]
#[command(version)]
struct Program<O: BackendOptions> {
    #[command(flatten)]
    arguments: Arguments<O>,
}

/// A whole worker program: reads the command line, runs until INT, TERM or QUIT. All that a `main` has to do.
pub fn main_of<O: BackendOptions>() -> ExitCode {
    let name = format!("zibrato-{}", O::Backend::NAME);
    let examples = examples(&name, O::EXAMPLES);
    let command = Program::<O>::command().name(name).about(O::ABOUT).after_help(examples);
    match Program::<O>::from_arg_matches(&command.get_matches()) {
        Ok(program) => program.arguments.main(),
        Err(why) => why.exit(),
    }
}

/// What stands at the end of `--help` of a program or subcommand that is called `name`.
pub fn examples(name: &str, examples: &str) -> String {
    let lines = examples.lines().map(|line| format!("\n  {name} {}", line.trim()));
    lines.fold("Examples:".into(), |all, line| all + &line)
}
