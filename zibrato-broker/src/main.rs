//! The program `zibrato-broker`.

use std::process::ExitCode;

use clap::Parser;

/// Takes frames in, fans them out by level, and keeps the newest state of every program that measures.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    options: zibrato_broker::Options,
}

fn main() -> ExitCode {
    zibrato_broker::main_with(&Arguments::parse().options)
}
