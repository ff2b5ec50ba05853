//! Where the admin port is.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use crate::error::Error;
use crate::options::Options;

/// Listens where the options say; `None` where they say nothing.
pub(crate) fn listen(options: &Options) -> Result<Option<TcpListener>, Error> {
    let Some(text) = options.admin.as_deref().map(str::trim).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let wrong = |why: String| Error::Address { address: text.into(), why };
    let found = text.to_socket_addrs().map_err(|why| wrong(why.to_string()))?;
    let addresses: Vec<SocketAddr> = found.collect();
    // A name may stand for several, of which any one could be taken.
    let exposed = addresses.iter().find(|address| !address.ip().to_canonical().is_loopback());
    match exposed {
        Some(address) if !options.admin_insecure => return Err(Error::Exposed { address: *address }),
        Some(address) => {
            tracing::warn!(%address, "the admin port is beyond loopback, unencrypted and open to whoever reaches it");
        }
        None if addresses.is_empty() => return Err(wrong("it has no address".into())),
        None => {}
    }
    let listener = TcpListener::bind(&addresses[..]);
    listener.map(Some).map_err(|source| Error::Listen { address: text.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str, admin_insecure: bool) -> Result<Option<TcpListener>, Error> {
        listen(&Options { admin: Some(address.into()), admin_insecure })
    }

    #[test]
    fn only_loopback_needs_no_consent() {
        assert!(listen(&Options::default()).unwrap().is_none());
        assert!(at("", false).unwrap().is_none());
        for address in ["127.0.0.1:0", "localhost:0", "127.9.9.9:0"] {
            assert!(at(address, false).unwrap().is_some(), "{address}");
        }
        for address in ["0.0.0.0:0", "[::]:0", "[::ffff:0.0.0.0]:0"] {
            let refused = at(address, false).unwrap_err();
            assert!(matches!(refused, Error::Exposed { .. }), "{address}: {refused}");
        }
        assert!(at("0.0.0.0:0", true).unwrap().is_some());
    }

    #[test]
    fn what_is_wrong_is_told() {
        for address in ["127.0.0.1", "127.0.0.1:x", ":", "127.0.0.1:70000"] {
            let why = at(address, true).unwrap_err().to_string();
            assert!(why.contains("HOST:PORT"), "{address}: {why}");
        }
        let taken = at("127.0.0.1:0", false).unwrap().unwrap();
        let why = at(&taken.local_addr().unwrap().to_string(), false).unwrap_err().to_string();
        assert!(why.contains("open the admin port"), "{why}");
    }
}
