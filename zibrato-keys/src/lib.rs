//! Keys for CURVE (ZeroMQ's RFC 26), and who may come in with which of them.
//!
//! Every application, worker and broker has a [`KeyPair`] of its own, kept in certificate files of ZeroMQ's format:
//! `NAME.key` has the public key and may be handed out, `NAME.key_secret` has both keys and stays where it is. Files of
//! pyzmq and czmq can be used, and theirs can be ours.
//!
//! A broker lets in whose public keys are in its file of [`Allowed`] identities.
//!
//! ```
//! use zibrato_keys::{KeyPair, PublicKey};
//! let pair = KeyPair::generate()?;
//! let text = pair.public().to_string();
//! assert_eq!(text.len(), 40);
//! assert_eq!(text.parse::<PublicKey>(), Ok(pair.public()));
//! # Ok::<(), zibrato_keys::Error>(())
//! ```
//!
//! Nothing here shows a secret key: neither `Debug` nor an error has it, and its memory is overwritten when it is
//! dropped.

mod allowed;
mod certificate;
mod error;
mod key;
mod z85;

pub use allowed::{Allowed, Identity, Limits};
pub use certificate::{Files, exposure};
pub use error::Error;
pub use key::{BadKey, KeyPair, PublicKey, SecretKey};
