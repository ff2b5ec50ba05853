//! Running as a program.

use std::process::ExitCode;

use crate::{Error, Librato, Options};

/// Runs the worker as a program until INT, TERM or QUIT, for the program `zibrato-librato` and the subcommand
/// `zibrato librato`. Without user name or token it says so and fails, except for `--dry-run`.
pub fn main_with(worker: zibrato_worker::Options, options: Options) -> ExitCode {
    let ready = || -> Result<Librato, Error> {
        let backend = Librato::new(options, worker.flush)?;
        if !worker.dry_run {
            backend.check_credentials()?;
        }
        Ok(backend)
    };
    match ready() {
        Ok(backend) => zibrato_worker::main_with(worker, backend),
        Err(why) => {
            eprintln!("zibrato-librato: failed to {why}");
            ExitCode::FAILURE
        }
    }
}
