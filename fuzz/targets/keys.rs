//! Files of allowed identities and certificates, of any bytes, are read without a panic; keys come back when written, and
//! no message has a secret one.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use zibrato_keys::{Allowed, KeyPair, PublicKey, SecretKey};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(allowed) = Allowed::parse(Path::new("allowed.toml"), text) {
            assert!(allowed.identities().iter().all(|identity| !format!("{identity:?}").is_empty()));
        }
        if let Ok(key) = text.parse::<PublicKey>() {
            assert_eq!(key.to_string().parse::<PublicKey>(), Ok(key));
        }
        assert!(text.parse::<SecretKey>().is_err() || text.trim().len() == 40);
    }
    // A file is what is read, so it is one: in memory.
    let path = Path::new("/dev/shm").join(format!("zibrato-fuzz-key-{}", std::process::id()));
    if std::fs::write(&path, bytes).is_ok() {
        let _ = PublicKey::read(&path);
        if let Err(why) = KeyPair::read(&path) {
            assert!(!why.to_string().is_empty());
        }
        let _ = std::fs::remove_file(&path);
    }
});
