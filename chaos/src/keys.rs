//! The keys of a fleet whose connections are encrypted, and who is allowed in at present.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use zibrato_keys::{Allowed, Files, Identity, KeyPair};
use zibrato_transport::{Broker, KeyFiles};

/// What brokers are called; all have the same keys.
const BROKER: &str = "broker";
/// What this program itself is called where it asks or delivers.
pub const OBSERVER: &str = "observer";

/// The keys of all parts.
#[derive(Debug)]
pub struct Keys {
    directory: PathBuf,
    identities: Vec<Identity>,
    revoked: BTreeSet<String>,
}

impl Keys {
    /// Makes keys for brokers, and for each of these, and allows all of them everything.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn new(directory: &Path, names: impl IntoIterator<Item = String>) -> io::Result<Keys> {
        std::fs::create_dir_all(directory)?;
        let mut identities = Vec::new();
        for name in names.into_iter().chain([BROKER.into(), OBSERVER.into()]) {
            let pair = KeyPair::generate().map_err(io::Error::other)?;
            Files::of(directory, &name).and_then(|files| files.write(&pair)).map_err(io::Error::other)?;
            if name != BROKER {
                identities.push(Identity::new(name, vec![pair.public()]));
            }
        }
        let keys = Keys { directory: directory.into(), identities, revoked: BTreeSet::new() };
        keys.write()?;
        // What a broker would refuse is no fault of the fleet's.
        Allowed::read(&keys.allowed()).map_err(io::Error::other)?;
        Ok(keys)
    }

    fn allowed(&self) -> PathBuf {
        self.directory.join("allowed.toml")
    }

    fn file(&self, name: &str, extension: &str) -> PathBuf {
        self.directory.join(format!("{name}.{extension}"))
    }

    /// Replaces the file of who is allowed, at once.
    fn write(&self) -> io::Result<()> {
        let allowed = self.identities.iter().filter(|one| !self.revoked.contains(&one.name));
        let text: Vec<String> = allowed.map(Identity::to_toml).collect();
        let new = self.directory.join("allowed.new");
        std::fs::write(&new, text.join("\n"))?;
        std::fs::rename(new, self.allowed())
    }

    /// Takes the key of somebody back, or allows it again.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn revoke(&mut self, name: &str, revoke: bool) -> io::Result<()> {
        if revoke {
            self.revoked.insert(name.into());
        } else {
            self.revoked.remove(name);
        }
        self.write()
    }

    /// Gives somebody who connects what it needs.
    pub fn give(&self, command: &mut Command, name: &str) {
        command.env("ZIBRATO_KEY", self.file(name, "key_secret"));
        command.env("ZIBRATO_BROKER_KEY", self.file(BROKER, "key"));
    }

    /// Has a broker let in only who is allowed.
    pub fn guard(&self, command: &mut Command) {
        command.arg("--keys").arg(self.file(BROKER, "key_secret")).arg("--allow").arg(self.allowed());
    }

    /// Secures this program's own connection to a broker.
    ///
    /// # Errors
    /// When the keys cannot be read.
    pub fn secure(&self, broker: Broker) -> io::Result<Broker> {
        let files = KeyFiles {
            key: Some(self.file(OBSERVER, "key_secret")),
            broker_key: Some(self.file(BROKER, "key").display().to_string()),
        };
        let mut brokers = [broker];
        files.secure(&mut brokers).map_err(io::Error::other)?;
        let [broker] = brokers;
        Ok(broker)
    }
}
