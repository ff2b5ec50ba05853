//! Who is let in: with a key pair, whoever proves to have an allowed key; without one, everybody.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};
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

/// The state of the file of allowed identities when it was read.
type Seen = Option<(SystemTime, u64)>;

/// Lets peers in.
pub(crate) struct Guard {
    own: Option<KeyPair>,
    file: Option<PathBuf>,
    allowed: RwLock<Arc<Allowed>>,
    seen: Mutex<Seen>,
    rates: Rates,
    names: Mutex<HashMap<Arc<str>, Weak<Rate>>>,
}

impl Guard {
    /// Lets in who is allowed by `file`; without a file whoever has any key and knows the public one of `own`, and
    /// without `own` everybody.
    pub(crate) fn new(own: Option<KeyPair>, file: Option<PathBuf>, rates: Rates) -> Result<Guard, Error> {
        let seen = file.as_ref().and_then(seen);
        let allowed = file.as_deref().map(Allowed::read).transpose().map_err(Error::Keys)?;
        let allowed = RwLock::new(Arc::new(allowed.unwrap_or_default()));
        Ok(Guard { own, file, allowed, seen: Mutex::new(seen), rates, names: Mutex::default() })
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

    fn rate(&self, name: &Arc<str>, rates: Rates) -> Option<Arc<Rate>> {
        if rates.frames.is_none() && rates.bytes.is_none() {
            return None;
        }
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.get(name).and_then(Weak::upgrade)
            && known.rates() == rates
        {
            return Some(known);
        }
        names.retain(|_, rate| rate.strong_count() > 0);
        let rate = Arc::new(Rate::new(rates));
        names.insert(name.clone(), Arc::downgrade(&rate));
        Some(rate)
    }

    /// Whether the file is another than the one that was read.
    pub(crate) fn has_changed(&self) -> bool {
        let Some(file) = &self.file else { return false };
        seen(file) != *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the file again. Gives who is no longer allowed, or something else now. A file that is wrong changes
    /// nothing.
    pub(crate) fn read_again(&self) -> Result<Vec<String>, zibrato_keys::Error> {
        let Some(file) = &self.file else { return Ok(Vec::new()) };
        // Also where it is wrong, so that it is said once.
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen(file);
        let new = Arc::new(Allowed::read(file)?);
        let old = {
            let mut allowed = self.allowed.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *allowed, new.clone())
        };
        let gone = old.identities().iter().filter(|i| !new.identities().contains(i));
        Ok(gone.map(|i| i.name.clone()).collect())
    }

    fn allowed(&self) -> Arc<Allowed> {
        self.allowed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn seen(file: &PathBuf) -> Seen {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
