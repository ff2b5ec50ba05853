//! Keys, and their text.

use std::fmt;
use std::str::FromStr;

use x25519_dalek::StaticSecret;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{Error, z85};

/// A text that is no key. It does not say which text, as that may be most of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadKey;

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key is 40 characters of Z85 that are not all 0, as `zibrato keys new` makes them")
    }
}

impl std::error::Error for BadKey {}

/// What others know of somebody. Its text is Z85, 40 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The key of these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> PublicKey {
        PublicKey(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&z85::encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        key_bytes(text).map(PublicKey).ok_or(BadKey)
    }
}

/// What nobody else knows. It is shown to nobody and overwritten when it is dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretKey([u8; 32]);

impl SecretKey {
    /// The key of these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> SecretKey {
        SecretKey(bytes)
    }

    /// Its bytes, for whoever encrypts.
    pub fn reveal(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its text, for its file alone.
    pub(crate) fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(z85::encode(&self.0))
    }

    /// The public key that belongs to it.
    pub fn public(&self) -> PublicKey {
        PublicKey(x25519_dalek::PublicKey::from(&StaticSecret::from(self.0)).to_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(not shown)")
    }
}

impl FromStr for SecretKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        key_bytes(text).map(SecretKey).ok_or(BadKey)
    }
}

/// czmq writes zeros for a key that it has not.
fn key_bytes(text: &str) -> Option<[u8; 32]> {
    z85::decode(text).filter(|bytes| *bytes != [0; 32])
}

/// Who somebody is: a secret key and the public key that belongs to it.
#[derive(Debug, Clone)]
pub struct KeyPair {
    public: PublicKey,
    secret: SecretKey,
}

impl KeyPair {
    /// Makes a new one of the system's randomness.
    ///
    /// # Errors
    /// Where the system has no randomness.
    pub fn generate() -> Result<KeyPair, Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|why| Error::Random { why: why.to_string() })?;
        let pair = KeyPair::new(SecretKey(bytes));
        bytes.zeroize();
        Ok(pair)
    }

    /// The pair of a secret key.
    pub fn new(secret: SecretKey) -> KeyPair {
        KeyPair { public: secret.public(), secret }
    }

    /// What others may know.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// What nobody else may know.
    pub fn secret(&self) -> &SecretKey {
        &self.secret
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of ZeroMQ's manual (zmq_curve), which everyone knows.
    const PUBLIC: &str = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";
    const SECRET: &str = "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs";

    #[test]
    fn the_public_key_follows_from_the_secret_one() {
        let pair = KeyPair::new(SECRET.parse().unwrap());
        assert_eq!(pair.public().to_string(), PUBLIC);
        assert_eq!(PUBLIC.parse(), Ok(pair.public()));
        assert_eq!(pair.secret().text().as_str(), SECRET);
    }

    #[test]
    fn every_pair_is_another() {
        let (one, two) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        assert_ne!(one.public(), two.public());
        assert_eq!(one.secret().public(), one.public());
    }

    #[test]
    fn nothing_shows_a_secret() {
        let pair = KeyPair::new(SECRET.parse().unwrap());
        let shown = format!("{pair:?} {:#?}", pair.secret());
        assert!(shown.contains("not shown") && !shown.contains(&SECRET[1..]), "{shown}");
        assert!(!shown.contains(&format!("{:?}", pair.secret().reveal())), "{shown}");
        let why = "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%c".parse::<SecretKey>().unwrap_err();
        assert!(!format!("{why} {why:?}").contains("D:)"));
    }

    #[test]
    fn zeros_are_no_key() {
        assert_eq!("0".repeat(40).parse::<PublicKey>(), Err(BadKey));
    }
}
