//! The configuration file: sections become command lines of workers.
//!
//! Every long option of a worker and its backend is a key of the section, so there is nothing else to know, and every
//! value is checked by what checks it on the command line.

use std::error::Error as _;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::kind::{Configured, Kind};
use crate::backends::KINDS;

/// Keys for all workers together, at the top of the file.
const COMMON: [&str; 6] = ["broker", "key", "broker-key", "verbose", "admin", "admin-insecure"];
/// Options that no section can have, because they are for all workers together.
const NOT_IN_SECTIONS: [&str; 6] = COMMON;

/// A configuration file that can be used.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where all of them listen.
    pub(crate) source: Source,
    /// As `--verbose`, how often.
    pub(crate) verbose: u8,
    /// As `--admin`.
    pub(crate) admin: Option<String>,
    /// As `--admin-insecure`.
    pub(crate) admin_insecure: bool,
    /// The workers, as they stand in the file.
    pub(crate) sections: Vec<Section>,
}

/// Where the workers listen; what is not said is left to the environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Source {
    /// As `--broker`.
    pub(crate) broker: Option<String>,
    /// As `--key`.
    pub(crate) key: Option<PathBuf>,
    /// As `--broker-key`.
    pub(crate) broker_key: Option<String>,
}

/// One worker.
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) kind: &'static dyn Kind,
    /// Its command line, which begins with its name.
    pub(crate) arguments: Vec<String>,
    /// Options that it says otherwise than by an argument, so that the environment does not count for them.
    unheard: Vec<String>,
    /// Where its state is kept, unless its own place is among the arguments.
    state: PathBuf,
}

impl std::fmt::Debug for Section {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Section")
            .field("name", &self.name)
            .field("arguments", &self.arguments)
            .finish_non_exhaustive()
    }
}

impl Section {
    /// Whether it is the same worker with the same options.
    pub(crate) fn is_same(&self, other: &Section) -> bool {
        self.kind.name() == other.kind.name()
            && self.arguments == other.arguments
            && self.unheard == other.unheard
            && self.state == other.state
    }

    /// The worker, with everything that the file says of it.
    pub(crate) fn worker(&self, source: &Source) -> Result<Box<dyn Configured>, String> {
        let mut worker = self.kind.parse(&self.arguments, &self.unheard).map_err(|why| first_line(&why))?;
        let options = worker.options();
        if let Some(broker) = &source.broker {
            options.broker.clone_from(broker);
        }
        options.key = source.key.clone().or(options.key.take());
        options.broker_key = source.broker_key.clone().or(options.broker_key.take());
        options.name = Some(self.name.clone());
        // What the environment says is where those of all workers are.
        if !self.arguments.iter().any(|argument| argument.starts_with("--state=")) {
            options.state = Some(self.state.clone());
        }
        Ok(worker)
    }
}

/// Something that is wrong with the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) path: PathBuf,
    /// From 1; `None` where the file cannot be read at all.
    pub(crate) line: Option<usize>,
    pub(crate) why: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let line = self.line.map_or(String::new(), |line| format!(":{line}"));
        write!(f, "{}{line}: {}", self.path.display(), self.why)
    }
}

/// Reads a configuration file; all that is wrong with it, if anything is.
pub(crate) fn read(path: &Path) -> Result<Config, Vec<Problem>> {
    let text = std::fs::read_to_string(path)
        .map_err(|why| vec![Problem { path: path.into(), line: None, why: why.to_string() }])?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Config, Vec<Problem>> {
    let mut reader = Reader { path, text, problems: Vec::new() };
    let table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(why) => {
            reader.problem(why.span().map_or(0, |span| span.start), why.message().to_string());
            return Err(reader.problems);
        }
    };
    let config = reader.config(table.get_ref());
    // What stands above the sections is read for each of them.
    let mut problems: Vec<Problem> = Vec::new();
    for problem in reader.problems {
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn problem(&mut self, at: usize, why: String) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = Some(before.matches('\n').count() + 1);
        self.problems.push(Problem { path: self.path.into(), line, why });
    }

    fn config(&mut self, table: &DeTable<'_>) -> Config {
        let mut config = Config {
            source: Source::default(),
            verbose: 0,
            admin: None,
            admin_insecure: false,
            sections: Vec::new(),
        };
        let mut state = None;
        let mut defaults = Vec::new();
        let known = worker_options();
        for (key, value) in table {
            let name = option_name(key.get_ref());
            match name.as_str() {
                "workers" => {}
                "broker" => {
                    config.source.broker = self.texts(value).map(|brokers| brokers.join(","));
                    let parsed = config.source.broker.as_deref().map(zibrato_transport::parse_brokers);
                    if let Some(Err(why)) = parsed {
                        self.problem(value.span().start, format!("failed to {why}"));
                    }
                }
                "key" => config.source.key = self.texts(value).map(|path| PathBuf::from(path.concat())),
                "broker-key" => config.source.broker_key = self.texts(value).map(|paths| paths.join(",")),
                "state" => state = self.texts(value).map(|path| PathBuf::from(path.concat())),
                "verbose" => match value.get_ref().as_integer().and_then(|n| decimal(n).parse().ok()) {
                    Some(verbose) => config.verbose = verbose,
                    None => self.problem(value.span().start, "verbose is 0, 1 or 2".into()),
                },
                "admin" => config.admin = self.texts(value).map(|address| address.concat()),
                "admin-insecure" => match value.get_ref().as_bool() {
                    Some(insecure) => config.admin_insecure = insecure,
                    None => self.problem(value.span().start, "admin-insecure is true or false".into()),
                },
                _ if known.contains(&name) => defaults.push((key, value)),
                _ => {
                    let known = known.iter().map(String::as_str).chain(COMMON).chain(["state", "workers"]);
                    let why = format!("unknown key {:?}{}", key.get_ref(), meant(&name, known));
                    self.problem(key.span().start, why);
                }
            }
        }
        let state = state.unwrap_or_else(default_state);
        match table.get("workers") {
            Some(workers) => match workers.get_ref() {
                DeValue::Table(sections) => {
                    for (name, section) in sections {
                        let section = self.section(name, section, &defaults, &state);
                        config.sections.extend(section);
                    }
                }
                _ => self.problem(workers.span().start, "workers is a table: write [workers.NAME]".into()),
            },
            None => self.problem(self.text.len(), "there is no worker: add a section [workers.NAME]".into()),
        }
        config
    }

    fn section(
        &mut self,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        defaults: &[Pair<'_>],
        state: &Path,
    ) -> Option<Section> {
        let at = name.span().start;
        let problems = self.problems.len();
        let name = name.get_ref().to_string();
        let DeValue::Table(table) = value.get_ref() else {
            self.problem(at, format!("workers.{name} is a table: write [workers.{name}]"));
            return None;
        };
        if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || "-_".contains(c)) {
            self.problem(at, format!("a worker's name has only letters, digits, - and _, unlike {name:?}"));
            return None;
        }
        let backend = match table.get("backend") {
            Some(backend) => (self.texts(backend)?.concat(), backend.span().start),
            None => (name.clone(), at),
        };
        let Some(kind) = KINDS.iter().find(|kind| kind.name() == backend.0) else {
            let names: Vec<&str> = KINDS.iter().map(|kind| kind.name()).collect();
            let why = format!("there is no backend {:?}; there are {}", backend.0, names.join(", "));
            self.problem(backend.1, why);
            return None;
        };
        let command = kind.command();
        let mut arguments = vec![name.clone()];
        let own = |key: &str| table.keys().any(|own| option_name(own.get_ref()) == key);
        let defaults = defaults.iter().filter(|(key, _)| !own(&option_name(key.get_ref())));
        let pairs = defaults.copied().chain(table.iter());
        let pairs: Vec<_> = pairs.filter(|(key, _)| key.get_ref() != "backend").collect();
        let unheard = unheard(&command, &pairs);
        for (key, value) in pairs {
            arguments.extend(self.option(&command, *kind, &unheard, key, value));
        }
        if self.problems.len() == problems
            && let Err(why) = kind.parse(&arguments, &unheard)
        {
            self.problem(at, format!("workers.{name}: {}", first_line(&why)));
        }
        let state = state.join(&name);
        Some(Section { name, kind: *kind, arguments, unheard, state })
    }

    /// The arguments that a key and its value stand for.
    fn option(
        &mut self,
        command: &clap::Command,
        kind: &dyn Kind,
        unheard: &[String],
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Vec<String> {
        let name = option_name(key.get_ref());
        let long = |argument: &clap::Arg| argument.get_long() == Some(&*name);
        let Some(argument) = command.get_arguments().find(|argument| long(argument)) else {
            let known = command.get_arguments().filter_map(clap::Arg::get_long).chain(["backend"]);
            let known = known.filter(|known| !NOT_IN_SECTIONS.contains(known));
            let why = format!(
                "unknown key {:?} of the backend {}{}",
                key.get_ref(),
                kind.name(),
                meant(&name, known)
            );
            self.problem(key.span().start, why);
            return Vec::new();
        };
        if NOT_IN_SECTIONS.contains(&&*name) {
            self.problem(key.span().start, format!("{name} is for all workers: move it above the sections"));
            return Vec::new();
        }
        let arguments = match (argument.get_action().takes_values(), value.get_ref()) {
            (false, DeValue::Boolean(on)) => on.then(|| format!("--{name}")).into_iter().collect(),
            (false, _) => {
                self.problem(value.span().start, format!("{name} is true or false"));
                return Vec::new();
            }
            (true, _) => {
                let Some(texts) = self.texts(value) else { return Vec::new() };
                let each = matches!(argument.get_action(), clap::ArgAction::Append);
                let texts = if each { texts } else { vec![texts.join(",")] };
                texts.into_iter().map(|text| format!("--{name}={text}")).collect::<Vec<_>>()
            }
        };
        let line: Vec<String> = std::iter::once(kind.name().to_string()).chain(arguments.clone()).collect();
        // What else is missing is told for the section, once all of it is known.
        if let Err(why) = kind.parse(&line, unheard)
            && !matches!(why.kind(), clap::error::ErrorKind::MissingRequiredArgument)
        {
            self.problem(value.span().start, first_line(&why));
        }
        arguments
    }

    /// A text, number or truth value, or a list of them, as texts.
    fn texts(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Vec<String>> {
        match value.get_ref() {
            DeValue::String(text) => Some(vec![text.to_string()]),
            DeValue::Integer(number) => Some(vec![decimal(number)]),
            DeValue::Float(number) => Some(vec![number.as_str().to_string()]),
            DeValue::Boolean(truth) => Some(vec![truth.to_string()]),
            DeValue::Array(values) => {
                let texts: Option<Vec<_>> = values.iter().map(|value| self.texts(value)).collect();
                Some(texts?.concat())
            }
            _ => {
                self.problem(value.span().start, "write a text, a number, or a list of them".into());
                None
            }
        }
    }
}

/// A key and its value.
type Pair<'a> = (&'a Spanned<std::borrow::Cow<'a, str>>, &'a Spanned<DeValue<'a>>);

/// Options for which these keys speak although no argument follows: those that are false, and those that cannot be had
/// together with one of them.
fn unheard(command: &clap::Command, pairs: &[Pair<'_>]) -> Vec<String> {
    let named = |name: &str| pairs.iter().find(|(key, _)| option_name(key.get_ref()) == name);
    let said = |option: &clap::Arg| option.get_long().and_then(named);
    let mut unheard = Vec::new();
    for option in command.get_arguments() {
        if said(option).is_some_and(|(_, value)| value.get_ref().as_bool() == Some(false)) {
            unheard.extend(option.get_long());
        }
        for other in command.get_arg_conflicts_with(option) {
            match (said(option), said(other)) {
                (Some(_), None) => unheard.extend(other.get_long()),
                (None, Some(_)) => unheard.extend(option.get_long()),
                _ => {}
            }
        }
    }
    unheard.into_iter().map(str::to_string).collect()
}

/// Options that every worker has, and that may stand at the top for all of them.
fn worker_options() -> Vec<String> {
    let command = <zibrato_worker::Options as clap::Args>::augment_args(clap::Command::new("worker"));
    let names = command.get_arguments().filter_map(clap::Arg::get_long).map(str::to_string);
    names.filter(|name| !COMMON.contains(&name.as_str()) && !matches!(&**name, "state" | "shard")).collect()
}

fn default_state() -> PathBuf {
    // Named for itself, so that its parent is where those of all workers are.
    let mut options = zibrato_worker::Options::default();
    options.state = std::env::var_os("ZIBRATO_STATE").filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(state) = options.state {
        return state;
    }
    let worker = options.state_directory("workers");
    worker
        .ok()
        .and_then(|path| path.parent().map(Path::to_path_buf))
        .unwrap_or_else(|| "zibrato-state".into())
}

/// A number in decimal, however it is written.
fn decimal(number: &DeInteger<'_>) -> String {
    let text = number.as_str();
    i128::from_str_radix(text, number.radix()).map_or_else(|_| text.to_string(), |number| number.to_string())
}

/// `batch_size` as `batch-size`.
fn option_name(key: &str) -> String {
    key.replace('_', "-")
}

/// A guess at which name was meant.
fn meant<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let likeness = |known: &str| strsim::jaro_winkler(name, known);
    let best = known.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    best.filter(|best| likeness(best) > 0.75)
        .map_or(String::new(), |best| format!("; did you mean {best:?}?"))
}

/// What clap says, without what only suits a command line, and without values that are wrong: a secret may be where none
/// belongs.
fn first_line(why: &clap::Error) -> String {
    if let (Some(cause), Some(argument)) = (why.source(), why.get(clap::error::ContextKind::InvalidArg)) {
        return format!("{argument}: {cause}");
    }
    let text = why.to_string();
    let lines = text.lines().take_while(|line| !line.starts_with("Usage:") && !line.is_empty());
    let line = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn problems(text: &str) -> Vec<(usize, String)> {
        let found = parse(Path::new("z.toml"), text).err().unwrap_or_default();
        found.into_iter().map(|problem| (problem.line.unwrap_or(0), problem.why)).collect()
    }

    #[test]
    fn sections_become_command_lines() {
        let text = r#"
            broker = ["tcp://a", "tcp://b"]
            key = "/etc/zibrato/workers.key_secret"
            broker_key = ["a.key", "b.key"]
            state = "/var/lib/zibrato"
            flush = 30
            keep = ["web.*"]
            [workers.librato]
            username = "me"
            kind-suffix = true
            flush = 0.5
            [workers.other]
            backend = "librato"
            api = "measurements"
            kind_suffix = false
            levels = ["info", "error"]
            state = "/elsewhere"
        "#;
        let config = parse(Path::new("z.toml"), text).unwrap();
        assert_eq!(config.source.broker.as_deref(), Some("tcp://a,tcp://b"));
        let mut workers: Vec<_> = config.sections.iter().map(|s| s.worker(&config.source).unwrap()).collect();
        let options = workers.iter_mut().map(|worker| worker.options().clone()).collect::<Vec<_>>();
        assert_eq!(options[0].flush.as_secs_f64(), 0.5);
        assert_eq!(options[1].flush.as_secs_f64(), 30.0);
        assert_eq!(options[0].state.as_deref(), Some(Path::new("/var/lib/zibrato/librato")));
        assert_eq!(options[1].state.as_deref(), Some(Path::new("/elsewhere")));
        assert_eq!(options[1].levels.to_string(), "info,error");
        assert_eq!(options[0].key.as_deref(), Some(Path::new("/etc/zibrato/workers.key_secret")));
        assert_eq!(options[1].broker_key.as_deref(), Some("a.key,b.key"));
        assert_eq!((options[0].keep.len(), options[1].broker.as_str()), (1, "tcp://a,tcp://b"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_all_of_it() {
        let text = "flsh = 3\n\n[workers.librato]\nurl = \"ftp://x\"\nusrname = \"me\"\nkind-suffix = 1\n\
                    [workers.nosuch]\n[workers.\"a b\"]\nbackend = \"librato\"\n[workers.b]\nbackend = \"librato\"\n\
                    broker = \"tcp://x\"\nkey = \"k\"\nkeep = [\"a{\"]\n";
        let found = problems(text);
        let expected = [
            (1, "unknown key \"flsh\"; did you mean \"flush\"?"),
            (4, "neither http nor https"),
            (5, "did you mean \"username\"?"),
            (6, "true or false"),
            (7, "there is no backend \"nosuch\""),
            (8, "only letters"),
            (12, "for all workers"),
            (13, "key is for all workers"),
            (14, "a } is missing"),
        ];
        for (line, why) in expected {
            assert!(
                found.iter().any(|(at, text)| *at == line && text.contains(why)),
                "{line} {why}: {found:#?}"
            );
        }
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        assert_eq!(problems("a = [1,")[0].0, 1);
        let twice = "flush = 0\n[workers.librato]\n[workers.b]\nbackend = \"librato\"\n";
        assert_eq!(problems(twice).len(), 1, "what stands for all is told once");
    }

    #[test]
    fn what_a_section_says_goes_before_the_environment() {
        let text = "[workers.json]\nfile = \"x\"\ngzip = false\nrotate_keep = 2\n";
        let config = parse(Path::new("z.toml"), text).unwrap();
        assert_eq!(config.sections[0].unheard, ["url", "gzip"]);
        let kind = config.sections[0].kind;
        let command = kind.command();
        let variables = command.get_arguments().filter(|option| option.get_env().is_some());
        assert!(variables.count() > 10, "the environment counts for the others");
    }

    #[test]
    fn wrong_values_are_not_shown() {
        let text = "[workers.librato]\nurl = \"https://me:s3cr3t@example.com\"\n";
        let found = problems(text);
        assert!(found[0].1.contains("user or a password in it"), "{found:?}");
        assert!(!found[0].1.contains("s3cr3t"), "{found:?}");
    }

    #[test]
    fn numbers_may_be_written_in_any_way() {
        let text = "outbox-limit = 0x1_0\n[workers.librato]\nflush = +0o17\n";
        assert_eq!(problems(text).len(), 1, "only decimal numbers have a sign");
        let config = parse(Path::new("z.toml"), &text.replace('+', "")).unwrap();
        let mut worker = config.sections[0].worker(&Source::default()).unwrap();
        assert_eq!((worker.options().outbox_limit, worker.options().flush.as_secs()), (16, 15));
        assert!(problems("")[0].1.contains("no worker"));
    }

    /// Pieces of which files are made, so that more than the first letter of a text is understood.
    fn piece() -> impl Strategy<Value = String> {
        let words = vec![
            "[workers.librato]",
            "[workers.b]",
            "[workers]",
            "[[workers.c]]",
            "backend",
            "broker",
            "key",
            "state",
            "flush",
            "batch_size",
            "gzip",
            "kind-suffix",
            "keep",
            "username",
            "admin",
            "verbose",
            "=",
            " = ",
            "\n",
            "\n",
            ",",
            "[",
            "]",
            "{",
            "}",
            ".",
            "#",
            "\"\"\"",
            "'",
            "\"librato\"",
            "\"json\"",
            "true",
            "false",
            "0x10",
            "-1",
            "1e999",
            "nan",
            "9223372036854775808",
            "\"tcp://[::1]:1\"",
            "1979-05-27",
            "\u{feff}",
            "\u{e9}",
        ];
        prop_oneof![8 => proptest::sample::select(words).prop_map(String::from), 1 => ".{0,6}"]
    }

    proptest! {
        #[test]
        fn any_text_has_workers_or_problems_on_its_lines(pieces in proptest::collection::vec(piece(), 0..40)) {
            let text = pieces.concat();
            match parse(Path::new("z.toml"), &text) {
                Ok(config) => prop_assert!(config.sections.iter().all(|s| s.worker(&config.source).is_ok())),
                Err(problems) => {
                    prop_assert!(!problems.is_empty());
                    let lines = 1..=text.matches('\n').count() + 1;
                    prop_assert!(problems.iter().all(|p| p.line.is_some_and(|line| lines.contains(&line))));
                }
            }
        }
    }
}
