//! The program `zibrato-librato`.

use std::process::ExitCode;

use clap::Parser;

/// Flushes measurements to a Librato-compatible service.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    worker: zibrato_worker::Options,
    #[command(flatten)]
    librato: zibrato_librato::Options,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    zibrato_librato::main_with(arguments.worker, arguments.librato)
}
