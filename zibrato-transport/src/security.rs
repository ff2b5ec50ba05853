//! How connections are protected, and the key files that say so.

use crate::Broker;
use std::fmt;
use std::path::PathBuf;
#[cfg(feature = "curve")]
use zibrato_keys::{KeyPair, PublicKey};

/// How the connections to a broker are protected.
#[derive(Debug, Clone, Default)]
pub enum Security {
    /// Not at all: whoever is on the way reads and alters them. For loopback, and networks that are protected otherwise.
    #[default]
    Plain,
    /// By CURVE (ZeroMQ's RFC 26): encrypted, and each end proves who it is. Needs the feature `curve`.
    #[cfg(feature = "curve")]
    Curve {
        /// Who we are.
        own: KeyPair,
        /// Who the broker must be.
        broker: PublicKey,
    },
}

/// Two are equal that have the same keys.
impl PartialEq for Security {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Security::Plain, Security::Plain) => true,
            #[cfg(feature = "curve")]
            (Security::Curve { own, broker }, Security::Curve { own: others, broker: other }) => {
                (own.public(), broker) == (others.public(), other)
            }
            #[cfg(feature = "curve")]
            _ => false,
        }
    }
}

impl Eq for Security {}

impl Security {
    /// Whether it protects anything.
    pub fn is_plain(&self) -> bool {
        matches!(self, Security::Plain)
    }
}

/// Where the keys are, as programs are told by `--key` and `--broker-key` or their twins in the environment,
/// `ZIBRATO_KEY` and `ZIBRATO_BROKER_KEY`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyFiles {
    /// The program's own secret file, `NAME.key_secret`.
    pub key: Option<PathBuf>,
    /// The brokers' public files, `NAME.key`, with commas between: one for each broker, or one for all of them.
    pub broker_key: Option<String>,
}

/// Keys that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadKeys(String);

impl fmt::Display for BadKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadKeys {}

impl KeyFiles {
    /// Whether none is named; an empty name is none.
    pub fn is_empty(&self) -> bool {
        self.own().is_none() && self.of_brokers().next().is_none()
    }

    fn own(&self) -> Option<&PathBuf> {
        self.key.as_ref().filter(|path| !path.as_os_str().is_empty())
    }

    fn of_brokers(&self) -> impl Iterator<Item = &str> {
        self.broker_key
            .iter()
            .flat_map(|paths| paths.split(','))
            .map(str::trim)
            .filter(|path| !path.is_empty())
    }

    /// Reads the keys, and has all connections to the brokers use them; does nothing where none is named.
    ///
    /// # Errors
    /// When only one of the two is named, there is another number of brokers, a file cannot be used, or this crate was
    /// built without its feature `curve`.
    pub fn secure(&self, brokers: &mut [Broker]) -> Result<(), BadKeys> {
        if self.is_empty() {
            return Ok(());
        }
        self.read(brokers)
    }

    #[cfg(not(feature = "curve"))]
    fn read(&self, _: &mut [Broker]) -> Result<(), BadKeys> {
        let why =
            "use keys: the program was built without the feature `curve`: switch it on for the crate zibrato";
        Err(BadKeys(why.into()))
    }

    #[cfg(feature = "curve")]
    fn read(&self, brokers: &mut [Broker]) -> Result<(), BadKeys> {
        const OPTIONS: &str = "--key (ZIBRATO_KEY) and --broker-key (ZIBRATO_BROKER_KEY)";
        let paths: Vec<&str> = self.of_brokers().collect();
        let own = match self.own() {
            Some(path) if !paths.is_empty() => KeyPair::read(path),
            _ => return Err(BadKeys(format!("use keys: give both {OPTIONS}, or none"))),
        };
        let bad = |why: zibrato_keys::Error| BadKeys(why.to_string());
        let own = own.map_err(bad)?;
        if paths.len() != 1 && paths.len() != brokers.len() {
            let (keys, brokers) = (paths.len(), brokers.len());
            let why = format!("use {keys} keys for {brokers} brokers: give one for all, or one for each");
            return Err(BadKeys(why));
        }
        let keys: Vec<PublicKey> = paths
            .into_iter()
            .map(|path| PublicKey::read(path.as_ref()))
            .collect::<Result<_, _>>()
            .map_err(bad)?;
        for (broker, key) in brokers.iter_mut().zip(keys.into_iter().cycle()) {
            *broker = broker.clone().secured(Security::Curve { own: own.clone(), broker: key });
        }
        Ok(())
    }

    /// What operators should know, once at the start: connections beyond this machine that nothing protects, and secret
    /// files that others can read. In the words of a log.
    pub fn warnings(&self, brokers: &[Broker]) -> Vec<String> {
        let open = brokers.iter().filter(|broker| broker.security().is_plain() && !broker.is_loopback()).map(|broker| {
            format!("what is sent to {broker} and comes from there can be read and altered on the way: give --key and --broker-key")
        });
        #[allow(unused_mut)]
        let mut warnings: Vec<String> = open.collect();
        #[cfg(feature = "curve")]
        warnings.extend(self.own().and_then(|path| zibrato_keys::exposure(path)));
        warnings
    }
}
