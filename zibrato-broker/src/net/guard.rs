//! Who is let in: with a key pair, whoever proves to have an allowed key; without one, everybody.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::SystemTime;

use omq_proto::{
    AuthenticationResult, AuthenticationStatus, Authenticator, CurveKeypair, CurvePublicKey, CurveSecretKey,
    CurveServerOptions, MechanismSetup,
};
use zibrato_core::level;
use zibrato_core::level::Levels;
use zibrato_keys::{Allowed, Identity, KeyPair, PublicKey};

use super::rate::{Rate, Rates};
use crate::error::Error;

/// Whose a connection is, and what it may do.
#[derive(Debug)]
pub(crate) struct Who {
    /// The identity, or the address where nobody has to prove one.
    pub(crate) name: Arc<str>,
    identity: Option<Arc<Identity>>,
    /// Of all connections of the same name together.
    rate: Option<Arc<Rate>>,
}

impl Who {
    pub(crate) fn may_send(&self) -> bool {
        self.identity.as_ref().is_none_or(|i| i.may_send)
    }

    pub(crate) fn may_receive(&self) -> bool {
        self.identity.as_ref().is_none_or(|i| i.may_receive)
    }

    pub(crate) fn may_use(&self, level: &str) -> bool {
        self.identity.as_ref().is_none_or(|i| i.levels.contains(level))
    }

    /// Most instances that it may speak for, where that is its own.
    pub(crate) fn instances(&self) -> Option<usize> {
        let own = self.identity.as_ref()?.limits.instances?;
        Some(usize::try_from(own).unwrap_or(usize::MAX))
    }

    /// Whether there is no level that it may not use.
    pub(crate) fn may_use_all(&self) -> bool {
        self.identity.is_none()
    }

    /// Whether a message of this topic may be sent there: its level is what stands before the first bar.
    pub(crate) fn may_see(&self, topic: &[u8]) -> bool {
        let Some(identity) = &self.identity else { return true };
        let name = topic.split(|b| *b == b'|').next().unwrap_or_default();
        std::str::from_utf8(name).is_ok_and(|name| name == level::BEAT || identity.levels.contains(name))
    }

    /// The levels of an answer, where only some may be told.
    pub(crate) fn levels(&self) -> Option<&Levels> {
        self.identity.as_ref().map(|i| &i.levels)
    }

    /// Whether it may send a frame of so many bytes now; if so, that counts.
    pub(crate) fn may_send_now(&self, bytes: usize, now: u64) -> bool {
        self.rate.as_ref().is_none_or(|rate| rate.take(bytes, now))
    }
}

/// The state of the file of allowed identities: when it was changed, and its size.
type Seen = Option<(SystemTime, u64)>;

/// What has become of the looks at that file.
#[derive(Default)]
struct Looks {
    /// Its state when it was read last.
    read: Seen,
    /// The state of which it was told that it cannot be read.
    told: Option<Seen>,
}

/// Lets peers in.
pub(crate) struct Guard {
    own: Option<KeyPair>,
    file: Option<PathBuf>,
    allowed: RwLock<Arc<Allowed>>,
    looks: Mutex<Looks>,
    rates: Rates,
    names: Mutex<HashMap<Arc<str>, Arc<Rate>>>,
}

impl Guard {
    /// Lets in who is allowed by `file`; without a file whoever has any key and knows the public one of `own`, and
    /// without `own` everybody.
    pub(crate) fn new(own: Option<KeyPair>, file: Option<PathBuf>, rates: Rates) -> Result<Guard, Error> {
        let read = file.as_ref().and_then(seen);
        let allowed = file.as_deref().map(Allowed::read).transpose().map_err(Error::Keys)?;
        let allowed = RwLock::new(Arc::new(allowed.unwrap_or_default()));
        Ok(Guard {
            own,
            file,
            allowed,
            looks: Mutex::new(Looks { read, told: None }),
            rates,
            names: Mutex::default(),
        })
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.own.is_some()
    }

    /// The mechanism of one connection, and where it notes a key that is not allowed.
    pub(crate) fn mechanism(self: &Arc<Self>) -> (MechanismSetup, Arc<OnceLock<PublicKey>>) {
        let refused = Arc::new(OnceLock::new());
        let Some(own) = &self.own else { return (MechanismSetup::Null, refused) };
        let our_keypair = CurveKeypair {
            public: CurvePublicKey::from_bytes(*own.public().as_bytes()),
            secret: CurveSecretKey::from_bytes(*own.secret().reveal()),
        };
        let (guard, note) = (self.clone(), refused.clone());
        let authenticator = Authenticator::new_with_result(move |peer| {
            let key = PublicKey::from_bytes(peer.public_key);
            let is_allowed = guard.file.is_none() || guard.allowed().identify(&key).is_some();
            if !is_allowed {
                // It is asked once a connection.
                let _ = note.set(key);
                // Not as an ERROR: libzmq gives up for ever after one, and nobody who is allowed a minute later could
                // come in without being started again.
                return AuthenticationResult {
                    status: AuthenticationStatus::TemporaryFailure,
                    ..AuthenticationResult::deny()
                };
            }
            AuthenticationResult::allow()
        });
        let mut options = CurveServerOptions::new();
        options.authenticator = Some(authenticator);
        (MechanismSetup::CurveServer { our_keypair, options }, refused)
    }

    /// Whose connection it is; `None` if the key is no longer allowed.
    pub(crate) fn who(&self, key: Option<[u8; 32]>, address: &str) -> Option<Who> {
        let key = key.map(PublicKey::from_bytes);
        let identity = match (&key, &self.file) {
            (Some(key), Some(_)) => Some(self.allowed().identify(key)?.clone()),
            _ => None,
        };
        let name: Arc<str> = match (&identity, &key) {
            (Some(identity), _) => identity.name.as_str().into(),
            (None, Some(key)) => key.to_string().into(),
            (None, None) => address.into(),
        };
        let limits = identity.as_ref().map(|i| i.limits).unwrap_or_default();
        let rates = Rates {
            frames: limits.frames_per_second.or(self.rates.frames),
            bytes: limits.bytes_per_second.or(self.rates.bytes),
        };
        let rate = self.rate(&name, rates);
        Some(Who { name, identity, rate })
    }

    /// Whether a key is still that of the same identity, which still may do the same.
    pub(crate) fn still_has(&self, who: &Who, key: Option<[u8; 32]>) -> bool {
        let (Some(key), Some(_)) = (key, &self.file) else { return true };
        who.identity.as_ref() == self.allowed().identify(&PublicKey::from_bytes(key))
    }

    fn rate(&self, name: &Arc<str>, rates: Rates) -> Option<Arc<Rate>> {
        if rates.frames.is_none() && rates.bytes.is_none() {
            return None;
        }
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.get(name)
            && known.rates() == rates
        {
            return Some(known.clone());
        }
        let rate = Arc::new(Rate::new(rates));
        names.insert(name.clone(), rate.clone());
        Some(rate)
    }

    /// Forgets how much those have sent who have no connection and may send as much as ever again; not before, because
    /// whoever comes again would start afresh. To be called about once a second.
    pub(crate) fn sweep(&self, now: u64) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.retain(|_, rate| Arc::strong_count(rate) > 1 || !rate.is_full(now));
    }

    /// Reads the file again if it is another than the one that was read, as [`read_again`](Self::read_again) does; until
    /// it could be read, because who is not allowed any more must not stay for want of a file descriptor. An error is
    /// told once for each state of the file.
    pub(crate) fn look(&self) -> Option<Result<Vec<String>, zibrato_keys::Error>> {
        let now = seen(self.file.as_ref()?);
        if now == self.looks().read {
            return None;
        }
        let result = self.read_again();
        let told = &mut self.looks().told;
        match &result {
            Err(_) if told.replace(now) == Some(now) => None,
            _ => Some(result),
        }
    }

    /// Reads the file again. Gives who is no longer allowed, or something else now. A file that is wrong changes
    /// nothing.
    pub(crate) fn read_again(&self) -> Result<Vec<String>, zibrato_keys::Error> {
        let Some(file) = &self.file else { return Ok(Vec::new()) };
        let before = seen(file);
        let new = Arc::new(Allowed::read(file)?);
        *self.looks() = Looks { read: before, told: None };
        let old = {
            let mut allowed = self.allowed.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *allowed, new.clone())
        };
        let gone = old.identities().iter().filter(|i| !new.identities().contains(i));
        Ok(gone.map(|i| i.name.clone()).collect())
    }

    fn looks(&self) -> MutexGuard<'_, Looks> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn allowed(&self) -> Arc<Allowed> {
        self.allowed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn seen(file: &PathBuf) -> Seen {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_could_not_be_read_is_read_as_soon_as_it_can_be() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("allowed.toml");
        let key = |n: u8| PublicKey::from_bytes([n; 32]).to_string();
        let write = |text: &str| {
            std::fs::write(&path, text).unwrap();
            // The same time and size, as where the file is in order and descriptors were lacking.
            std::fs::File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(SystemTime::UNIX_EPOCH)
                .unwrap();
        };
        let of = |name: &str| format!("[{name}]\nkey = '{}'\n", key(1));
        std::fs::write(&path, of("a")).unwrap();
        let guard = Guard::new(None, Some(path.clone()), Rates::default()).unwrap();
        assert!(guard.look().is_none());
        write(&of("b").replace('=', "?"));
        assert!(matches!(guard.look(), Some(Err(_))));
        assert!(guard.look().is_none(), "it is said once");
        write(&of("b"));
        assert_eq!(guard.look(), Some(Ok(vec!["a".to_owned()])));
        assert!(guard.look().is_none());
    }
}
