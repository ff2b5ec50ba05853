//! The program `zibrato`: every part as a subcommand.

mod audit;
mod backends;
mod broker_option;
mod demo;
mod failure;
mod figures;
mod info;
mod keys;
mod labels;
mod listener;
mod measure;
mod number;
mod output;
mod send;
mod state;
mod table;
mod tail;
mod time;
mod workers;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

const AFTER_HELP: &str = "\
Examples:
  zibrato demo --seconds 10           see it work, all in one process
  zibrato broker                      run a broker on this machine
  zibrato tail --name 'web.*'         watch what passes
  zibrato send counter deploys        count something from a shell
  zibrato time --name backup -- tar czf /tmp/home.tgz /home

Options have twins in the environment, which --help names; the option wins.

Exit status: 0 when done, 1 when it failed, 2 when the command line was wrong;
`zibrato time` passes on the status of its command.";

/// Measure programs from inside, and see exact totals wherever people look.
#[derive(Debug, Parser)]
#[command(name = "zibrato", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker: programs send to it, workers get from it
    #[command(after_help = "\
Examples:
  zibrato broker                      on ports 5550 to 5552 of this machine
  zibrato broker --listen 0.0.0.0     for other machines too
  zibrato broker --legacy-port 5540   also for programs that use the old Zibrato")]
    Broker(zibrato_broker::Options),
    #[command(flatten)]
    Worker(backends::Worker),
    /// Run any number of workers from one configuration file, over one subscription
    Workers(workers::Options),
    /// Check and explain a configuration file
    Config(workers::check::Options),
    /// Print what passes a broker
    Tail(tail::Options),
    /// Measure something from a shell
    Send(send::Options),
    /// Run a command and measure how long it takes
    Time(time::Options),
    /// Ask a broker about itself
    Info(info::Options),
    /// Check that nothing was lost between programs, brokers and workers
    Audit(audit::Options),
    /// Make keys, and say who may come in with which
    Keys(keys::Options),
    /// Work on the state directories of workers
    State(state::Options),
    /// See it work: a broker, a program that measures and a live view in one process
    Demo(demo::Options),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Broker(options) => return zibrato_broker::main_with(&options),
        Command::Worker(worker) => return worker.main(),
        Command::Workers(options) => workers::main(&options),
        Command::Config(options) => workers::check::main(&options),
        Command::Tail(options) => tail::main(&options),
        Command::Send(options) => send::main(&options),
        Command::Time(options) => time::main(&options),
        Command::Info(options) => info::main(&options),
        Command::Audit(options) => audit::main(&options),
        Command::Keys(options) => keys::main(&options),
        Command::State(options) => state::main(options),
        Command::Demo(options) => demo::main(&options),
    };
    result.unwrap_or_else(failure::Failure::report)
}
