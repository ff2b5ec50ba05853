use std::path::PathBuf;
use std::time::Duration;

use zibrato_keys::KeyPair;

use crate::config::{Config, ConnectionLimits};
use crate::error::Error;
use crate::keep::Limits;

/// The options of the broker, for the program and for the subcommand `zibrato broker`.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Address to listen on.
    #[arg(long, env = "ZIBRATO_LISTEN", default_value = "127.0.0.1", value_name = "HOST")]
    pub listen: String,

    /// First of three ports: in, out, ask.
    #[arg(long, env = "ZIBRATO_PORT", default_value_t = 5550)]
    pub port: u16,

    /// Directory of the state file, or "none" to keep everything in memory only [default: $STATE_DIRECTORY,
    /// $XDG_STATE_HOME/zibrato/broker or ~/.local/state/zibrato/broker].
    #[arg(long, env = "ZIBRATO_STATE", value_name = "DIR|none")]
    pub state: Option<PathBuf>,

    /// Also take lines of old Zibrato publishers, on this port, and pass them on to old workers on the next.
    #[arg(long, env = "ZIBRATO_LEGACY_PORT", value_name = "PORT")]
    pub legacy_port: Option<u16>,

    /// How long programs that are not heard of are kept: a number with s, m, h or d. Workers take nothing that is
    /// older than 7d.
    #[arg(long, env = "ZIBRATO_HORIZON", default_value = "7d", value_parser = duration)]
    pub horizon: Duration,

    /// Most bytes of state to keep: a number, also with K, M or G.
    #[arg(long, env = "ZIBRATO_MAX_BYTES", default_value = "512M", value_parser = bytes)]
    pub max_bytes: usize,

    /// Most pairs of instance and level to keep.
    #[arg(long, env = "ZIBRATO_MAX_SLOTS", default_value_t = Limits::default().slots)]
    pub max_slots: usize,

    /// The broker's own keys, NAME.key_secret as `zibrato keys new` makes it: all connections are encrypted, and only
    /// identities of --allow are let in.
    #[arg(long, env = "ZIBRATO_KEYS", value_name = "FILE", requires = "allow")]
    pub keys: Option<PathBuf>,

    /// The file of allowed identities; it is read again when it changes, and on HUP.
    #[arg(long, env = "ZIBRATO_ALLOW", value_name = "FILE", requires = "keys")]
    pub allow: Option<PathBuf>,

    /// Listen beyond loopback without keys: whoever reaches the ports can send and read.
    #[arg(long, env = "ZIBRATO_INSECURE", conflicts_with = "keys")]
    pub insecure: bool,

    /// How much peers may make the broker hold.
    #[command(flatten, next_help_heading = "Limits")]
    pub limits: LimitOptions,

    /// The admin port.
    #[command(flatten)]
    pub admin: zibrato_admin::Options,

    /// Most instances of one identity, or of one address without keys; beyond, its own oldest are forgotten.
    #[arg(long, env = "ZIBRATO_MAX_INSTANCES", default_value_t = Limits::default().instances)]
    pub max_instances: usize,

    /// Say more (twice: everything).
    #[arg(long, short, env = "ZIBRATO_VERBOSE", action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// What peers may make the broker hold; see [`ConnectionLimits`].
#[derive(Debug, Clone, clap::Args)]
pub struct LimitOptions {
    /// Most connections to all ports together.
    #[arg(long, env = "ZIBRATO_MAX_CONNECTIONS", default_value_t = ConnectionLimits::default().connections)]
    pub max_connections: usize,

    /// Most connections of one address.
    #[arg(long, env = "ZIBRATO_MAX_PER_ADDRESS", default_value_t = ConnectionLimits::default().per_address)]
    pub max_per_address: usize,

    /// Most connections of one identity.
    #[arg(long, env = "ZIBRATO_MAX_PER_IDENTITY", default_value_t = ConnectionLimits::default().per_identity)]
    pub max_per_identity: usize,

    /// Most handshakes that are not done yet; the oldest makes room.
    #[arg(long, env = "ZIBRATO_MAX_HANDSHAKES", default_value_t = ConnectionLimits::default().handshakes)]
    pub max_handshakes: usize,

    /// How long a handshake may take.
    #[arg(long, env = "ZIBRATO_HANDSHAKE_TIME", default_value = "5s", value_parser = duration)]
    pub handshake_time: Duration,

    /// Most subscriptions of one connection.
    #[arg(long, env = "ZIBRATO_MAX_SUBSCRIPTIONS", default_value_t = ConnectionLimits::default().subscriptions)]
    pub max_subscriptions: usize,

    /// Most bytes that wait for one subscriber; a slower one misses messages.
    #[arg(long, env = "ZIBRATO_MAX_BEHIND", default_value = "16M", value_parser = bytes)]
    pub max_behind: usize,

    /// Most bytes that wait for all peers together.
    #[arg(long, env = "ZIBRATO_MAX_OUTGOING", default_value = "256M", value_parser = bytes)]
    pub max_outgoing: usize,

    /// Most bytes of messages that have not come whole yet.
    #[arg(long, env = "ZIBRATO_MAX_INCOMING", default_value = "256M", value_parser = bytes)]
    pub max_incoming: usize,

    /// Most frames a second of one identity, or one address without keys.
    #[arg(long, env = "ZIBRATO_MAX_FRAMES_PER_SECOND", value_name = "FRAMES")]
    pub max_frames_per_second: Option<u64>,

    /// Most bytes of frames a second, likewise: a number, also with K, M or G.
    #[arg(long, env = "ZIBRATO_MAX_BYTES_PER_SECOND", value_name = "BYTES", value_parser = bytes)]
    pub max_bytes_per_second: Option<usize>,
}

impl LimitOptions {
    fn connections(&self) -> ConnectionLimits {
        ConnectionLimits {
            handshake: self.handshake_time,
            handshakes: self.max_handshakes,
            connections: self.max_connections,
            per_address: self.max_per_address,
            per_identity: self.max_per_identity,
            behind_bytes: self.max_behind,
            outgoing_bytes: self.max_outgoing,
            incoming_bytes: self.max_incoming,
            subscriptions: self.max_subscriptions,
            frames_per_second: self.max_frames_per_second,
            bytes_per_second: self.max_bytes_per_second.map(|n| n as u64),
            ..ConnectionLimits::default()
        }
    }
}

impl Options {
    /// The configuration that the options stand for.
    ///
    /// # Errors
    /// When no state directory is given and none can be derived from the environment, or the keys cannot be read.
    pub fn config(&self) -> Result<Config, Error> {
        let state = match &self.state {
            Some(directory) if directory.as_os_str() == "none" => None,
            Some(directory) => Some(directory.clone()),
            None => Some(default_state()?),
        };
        let limits = Limits {
            horizon: u64::try_from(self.horizon.as_nanos()).unwrap_or(u64::MAX),
            slots: self.max_slots,
            bytes: self.max_bytes,
            instances: self.max_instances,
            durable: state.is_some(),
        };
        Ok(Config {
            listen: self.listen.clone(),
            port: self.port,
            state,
            legacy_port: self.legacy_port,
            limits,
            keys: self.keys.as_deref().map(KeyPair::read).transpose().map_err(Error::Keys)?,
            allow: self.allow.clone(),
            insecure: self.insecure,
            connections: self.limits.connections(),
            ..Config::default()
        })
    }
}

/// Where the state is kept when nothing is said: where systemd wants it, else as the XDG base directory
/// specification has it.
fn default_state() -> Result<PathBuf, Error> {
    let given = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    if let Some(directory) = given("STATE_DIRECTORY") {
        return Ok(directory);
    }
    let base = given("XDG_STATE_HOME")
        .or_else(|| given("HOME").map(|home| home.join(".local/state")))
        .or_else(|| given("LOCALAPPDATA"))
        .ok_or(Error::NoState)?;
    Ok(base.join("zibrato/broker"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400), ("", 1)];
    let seconds = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()));
    seconds
        .and_then(|(_, seconds)| number.parse::<u64>().ok()?.checked_mul(*seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| format!("not a time: {text:?}; write something like 90s, 12h or 7d"))
}

fn bytes(text: &str) -> Result<usize, String> {
    zibrato_core::limits::parse_bytes(text)
        .ok_or_else(|| format!("not a size: {text:?}; write something like 512M or 2G"))
}
