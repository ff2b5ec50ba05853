//! The command line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use zibrato_chaos::report::Report;
use zibrato_chaos::run::{Settings, planned, run};
use zibrato_chaos::schedule::Fault;
use zibrato_chaos::{application, load};

#[derive(Parser)]
#[command(name = "zibrato-chaos", about = "Breaks a fleet in every way, and compares all totals")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a fleet, lets things go wrong, and compares
    Run(Chaos),
    /// Sends the frames of many instances, and tells what that costs and how long a measurement takes
    Load(Load),
    /// An application of the fleet
    #[command(hide = true)]
    Application(application::Options),
}

/// What a run is told.
#[derive(Debug, clap::Args)]
struct Chaos {
    /// What everything follows from; drawn and told if not given
    #[arg(long)]
    seed: Option<u64>,
    /// How many runs with one seed after the other
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// For how many minutes things go wrong in each run
    #[arg(long, default_value_t = 3.0)]
    minutes: f64,
    /// How many brokers there are [default: one or two, as the seed has it]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=4))]
    brokers: Option<u64>,
    /// How many applications there are
    #[arg(long, default_value_t = 20)]
    applications: usize,
    /// Encrypts all connections to brokers (CURVE), alters messages on them, and takes keys back
    #[arg(long)]
    keys: bool,
    /// Leaves these faults out, comma-separated; the others stay what they are
    #[arg(long, value_enum, value_delimiter = ',')]
    without: Vec<Fault>,
    /// Makes only these faults
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Fault>,
    /// Only prints what would happen
    #[arg(long)]
    plan: bool,
    /// Writes the reports to this file, a line of JSON each
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keeps logs, ledgers and states below this directory; a temporary one, kept after a failure, if not given
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Says what happens when it happens
    #[arg(long, short)]
    verbose: bool,
}

/// What a run under load is told.
#[derive(Debug, clap::Args)]
struct Load {
    /// How many instances are simulated
    #[arg(long, default_value_t = 2_000)]
    instances: usize,
    /// Seconds between two frames of each
    #[arg(long, default_value_t = 1.0)]
    interval: f64,
    /// For how many minutes
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
}

pub(crate) fn main() -> ExitCode {
    let done = match Options::parse().command {
        Command::Run(options) => chaos(&options),
        Command::Load(options) => under_load(&options),
        Command::Application(options) => {
            return match application::run(&options) {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) => ExitCode::from(3),
                Err(why) => {
                    eprintln!("failed to {why}");
                    ExitCode::FAILURE
                }
            };
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("failed to run the fleet: {why}");
            ExitCode::from(2)
        }
    }
}

/// Whether all runs were good.
fn chaos(options: &Chaos) -> Result<bool, Box<dyn std::error::Error>> {
    let drawn = || std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_millis() as u64 % 1_000_000);
    let first = options.seed.unwrap_or_else(drawn);
    let program = std::env::current_exe()?;
    let mut good = true;
    for seed in first..first.saturating_add(options.seeds) {
        let mut settings = Settings {
            seed,
            length: Duration::try_from_secs_f64(options.minutes * 60.0)?,
            brokers: options.brokers.map(|brokers| brokers as usize),
            applications: options.applications,
            keys: options.keys,
            only: options.only.clone(),
            without: options.without.clone(),
            zibrato: program.with_file_name("zibrato"),
            program: program.clone(),
            directory: PathBuf::new(),
            verbose: options.verbose,
        };
        if options.plan {
            let plan = planned(&settings);
            println!("seed {seed}: {} brokers\n{}", plan.brokers, Report::plan(&plan.events));
            continue;
        }
        let temporary = tempfile::Builder::new().prefix(&format!("zibrato-chaos-{seed}-")).tempdir()?;
        settings.directory = match &options.directory {
            Some(directory) => directory.join(seed.to_string()),
            None => temporary.path().to_path_buf(),
        };
        println!("seed {seed}, {:.1} minutes", options.minutes);
        let mut report = run(settings)?;
        if options.directory.is_none() && report.is_good() {
            report.directory = None;
        } else if options.directory.is_none() {
            let _ = temporary.keep();
        }
        good &= report.is_good();
        if let Some(path) = &options.json {
            append(path, &serde_json::to_string(&report)?)?;
        }
        println!("{}", report.text());
    }
    Ok(good)
}

fn under_load(options: &Load) -> Result<bool, Box<dyn std::error::Error>> {
    let temporary = tempfile::Builder::new().prefix("zibrato-load-").tempdir()?;
    let settings = load::Settings {
        instances: options.instances,
        interval: Duration::try_from_secs_f64(options.interval)?,
        length: Duration::try_from_secs_f64(options.minutes * 60.0)?,
        zibrato: std::env::current_exe()?.with_file_name("zibrato"),
        directory: temporary.path().to_path_buf(),
    };
    let report = load::load(&settings)?;
    println!("{}", report.text());
    Ok(report.is_good())
}

fn append(path: &Path, line: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::File::options().create(true).append(true).open(path)?;
    writeln!(file, "{line}")
}
