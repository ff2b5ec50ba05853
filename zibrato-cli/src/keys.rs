//! `zibrato keys`: make keys, and say who may come in.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use serde_json::json;
use zibrato_core::level::Levels;
use zibrato_keys::{Allowed, Error, Files, Identity, KeyPair, Limits, PublicKey};

use crate::failure::{Failure, complain};
use crate::output::Output;
use crate::table::{Column, Table};

const AFTER_HELP: &str = "\
Examples:
  zibrato keys new broker --directory /etc/zibrato
  zibrato keys new web-1                        a key for each program
  zibrato keys allow web-1.key --file /etc/zibrato/allowed.toml --may send
  zibrato keys check /etc/zibrato/allowed.toml
  zibrato broker --listen 0.0.0.0 --keys broker.key_secret --allow allowed.toml
  zibrato tail --broker tcp://example.org --key tail.key_secret --broker-key broker.key

NAME.key_secret stays where it was made; NAME.key may be handed out. Both are certificate files of ZeroMQ.";

/// The options of `zibrato keys`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a pair of keys: NAME.key and NAME.key_secret, which are never overwritten
    #[command(after_help = "\
Examples:
  zibrato keys new web-1
  zibrato keys new broker --directory /etc/zibrato --json

Exit status: 0 when both files are there, 1 when one was there before or cannot be written, 2 when the command line was
wrong.")]
    New(New),
    /// Print the public key in a file of either kind
    #[command(after_help = "\
Examples:
  zibrato keys show web-1.key
  zibrato keys show web-1.key_secret --json")]
    Show(Show),
    /// Let somebody in: add a public key to the file of allowed identities
    #[command(after_help = "\
Examples:
  zibrato keys allow web-1.key --file allowed.toml --may send --levels info,error
  zibrato keys allow dashboard.key --file allowed.toml --may receive

The broker notices by itself. To let nobody in with that key any more, delete its table from the file.

Exit status: 0 when it was added, 1 when the name or the key is there already or the file is wrong, 2 when the command
line was wrong.")]
    Allow(Allow),
    /// Check a file of allowed identities, and print who may do what
    #[command(after_help = "\
Examples:
  zibrato keys check allowed.toml
  zibrato keys check allowed.toml --json

Exit status: 0 when the file can be used, 1 when it cannot, 2 when the command line was wrong.")]
    Check(Check),
}

#[derive(Debug, clap::Args)]
struct New {
    /// Whose keys they are: letters, digits, -, _ and .
    name: String,

    /// Where the files go; made where need be
    #[arg(long, default_value = ".", value_name = "DIR")]
    directory: PathBuf,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// NAME.key or NAME.key_secret
    file: PathBuf,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Allow {
    /// Public keys of one identity, files NAME.key
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<PathBuf>,

    /// The file of allowed identities, made where there is none
    #[arg(long, env = "ZIBRATO_ALLOW", value_name = "FILE")]
    file: PathBuf,

    /// What the identity is called [default: the name of the first key's file]
    #[arg(long)]
    name: Option<String>,

    /// What it may do [default: both]
    #[arg(long, value_delimiter = ',', value_name = "WHAT")]
    may: Vec<May>,

    /// At which levels, comma-separated: * for all, !LEVEL for all but one [default: all]
    #[arg(long, value_name = "LEVELS")]
    levels: Option<Levels>,

    /// Most frames a second that it may send
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    frames_per_second: Option<u64>,

    /// Most bytes a second that it may send
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    bytes_per_second: Option<u64>,

    /// Most processes that it may speak for at a time
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    instances: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum May {
    /// Send measurements, as applications do
    Send,
    /// Get them, as workers do
    Receive,
}

#[derive(Debug, clap::Args)]
struct Check {
    /// The file of allowed identities
    #[arg(env = "ZIBRATO_ALLOW")]
    file: PathBuf,

    /// Print one JSON object a line, for each identity
    #[arg(long)]
    json: bool,
}

pub(crate) fn main(options: &Options) -> Result<ExitCode, Failure> {
    match &options.command {
        Command::New(new) => make(new),
        Command::Show(show) => print(show),
        Command::Allow(allow) => add(allow),
        Command::Check(check) => list(check),
    }
    .map(|()| ExitCode::SUCCESS)
}

fn failed(why: Error) -> Failure {
    Failure::To(why.to_string())
}

fn make(options: &New) -> Result<(), Failure> {
    let files = Files::of(&options.directory, &options.name)
        .map_err(|why| Failure::Usage(format!("failed to {why}")))?;
    let pair = KeyPair::generate().map_err(failed)?;
    files.write(&pair).map_err(failed)?;
    let (public, secret) = (files.public.display().to_string(), files.secret.display().to_string());
    let mut out = Output::new();
    if options.json {
        let key = pair.public().to_string();
        return out.line(&json!({ "key": key, "public_file": public, "secret_file": secret }).to_string());
    }
    out.line(&format!("{public}  to hand out: {}", pair.public()))?;
    out.line(&format!("{secret}  to be kept secret"))
}

fn print(options: &Show) -> Result<(), Failure> {
    let key = PublicKey::read(&options.file).map_err(failed)?;
    if KeyPair::read(&options.file).is_ok()
        && let Some(warning) = zibrato_keys::exposure(&options.file)
    {
        complain(&warning);
    }
    let text = if options.json { json!({ "key": key.to_string() }).to_string() } else { key.to_string() };
    Output::new().line(&text)
}

fn add(options: &Allow) -> Result<(), Failure> {
    let keys: Vec<PublicKey> =
        options.keys.iter().map(|path| PublicKey::read(path)).collect::<Result<_, _>>().map_err(failed)?;
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = options.name.clone().or_else(|| stem(options.keys.first()?)).unwrap_or_default();
    let mut identity = Identity::new(name, keys);
    if !options.may.is_empty() {
        identity.may_send = options.may.contains(&May::Send);
        identity.may_receive = options.may.contains(&May::Receive);
    }
    if let Some(levels) = &options.levels {
        identity.levels = levels.clone();
    }
    identity.limits = Limits {
        frames_per_second: options.frames_per_second,
        bytes_per_second: options.bytes_per_second,
        instances: options.instances,
    };
    Allowed::add(&options.file, &identity).map_err(failed)?;
    Output::new().line(&format!(
        "{} may {} now, in {}",
        identity.name,
        may(&identity),
        options.file.display()
    ))
}

fn may(identity: &Identity) -> &'static str {
    match (identity.may_send, identity.may_receive) {
        (true, true) => "send and receive",
        (true, false) => "send",
        (false, _) => "receive",
    }
}

fn list(options: &Check) -> Result<(), Failure> {
    let allowed = Allowed::read(&options.file).map_err(failed)?;
    let mut out = Output::new();
    if options.json {
        return allowed.identities().iter().try_for_each(|identity| {
            let rights = [("send", identity.may_send), ("receive", identity.may_receive)];
            let rights: Vec<&str> = rights.iter().filter(|(_, may)| *may).map(|(name, _)| *name).collect();
            let keys: Vec<String> = identity.keys.iter().map(ToString::to_string).collect();
            let line = json!({
                "identity": identity.name, "keys": keys, "may": rights, "levels": identity.levels.to_string(),
                "frames_per_second": identity.limits.frames_per_second,
                "bytes_per_second": identity.limits.bytes_per_second, "instances": identity.limits.instances,
            });
            out.line(&line.to_string())
        });
    }
    if allowed.identities().is_empty() {
        complain(&format!("{} has no identities: it lets nobody in", options.file.display()));
        return Ok(());
    }
    let mut table = Table::new([
        Column::left("IDENTITY"),
        Column::right("KEYS"),
        Column::left("MAY"),
        Column::left("LEVELS"),
        Column::right("FRAMES/S"),
        Column::right("BYTES/S"),
        Column::right("PROGRAMS"),
    ]);
    for identity in allowed.identities() {
        let limit = |limit: Option<u64>| limit.map_or("-".into(), |limit| limit.to_string());
        let limits = identity.limits;
        table.row([
            identity.name.clone(),
            identity.keys.len().to_string(),
            may(identity).into(),
            identity.levels.to_string(),
            limit(limits.frames_per_second),
            limit(limits.bytes_per_second),
            limit(limits.instances),
        ]);
    }
    out.write(&table.render(None))
}
