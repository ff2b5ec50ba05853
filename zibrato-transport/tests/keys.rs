//! Key files on their way to brokers, and what is said about them.
#![allow(clippy::unwrap_used, reason = "helpers of tests are not marked as tests")]

use zibrato_transport::{KeyFiles, parse_brokers};

fn files(key: &str, broker_key: &str) -> KeyFiles {
    KeyFiles { key: Some(key.into()), broker_key: Some(broker_key.into()) }
}

#[test]
fn without_keys_nothing_is_read_and_what_leaves_the_machine_is_warned_of() {
    let text = "tcp://localhost,tcp://127.1.2.3,tcp://[::1],tcp://10.0.0.1,tcp://[::ffff:10.0.0.2],tcp://a.example.org";
    let mut brokers = parse_brokers(text).unwrap();
    files("", " , ").secure(&mut brokers).unwrap();
    KeyFiles::default().secure(&mut brokers).unwrap();
    assert!(brokers.iter().all(|broker| broker.security().is_plain()));
    let warnings = KeyFiles::default().warnings(&brokers);
    let of: Vec<bool> = brokers.iter().map(|b| warnings.iter().any(|w| w.contains(&b.to_string()))).collect();
    assert_eq!(of, [false, false, false, true, true, true], "{warnings:?}");
}

#[cfg(not(feature = "curve"))]
#[test]
fn without_the_feature_keys_are_an_error_that_names_it() {
    let why = files("a", "b").secure(&mut parse_brokers("tcp://a").unwrap()).unwrap_err().to_string();
    assert!(why.starts_with("use keys: ") && why.contains("the feature `curve`"), "{why}");
}

#[cfg(feature = "curve")]
mod with_keys {
    use super::*;
    use std::path::Path;
    use zibrato_keys::{Files, KeyPair};
    use zibrato_transport::Security;

    fn make(directory: &Path, name: &str) -> (KeyPair, String, String) {
        let (pair, files) = (KeyPair::generate().unwrap(), Files::of(directory, name).unwrap());
        files.write(&pair).unwrap();
        (pair, files.public.display().to_string(), files.secret.display().to_string())
    }

    #[test]
    fn one_key_is_for_all_brokers_and_several_for_one_each() {
        let directory = tempfile::tempdir().unwrap();
        let (own, _, secret) = make(directory.path(), "own");
        let (a, a_file, _) = make(directory.path(), "a");
        let (b, b_file, _) = make(directory.path(), "b");
        for (given, expected) in [(a_file.clone(), [&a, &a]), (format!("{a_file}, {b_file}"), [&a, &b])] {
            let mut brokers = parse_brokers("tcp://h,tcp://i").unwrap();
            files(&secret, &given).secure(&mut brokers).unwrap();
            for (broker, pair) in brokers.iter().zip(expected) {
                let Security::Curve { own: ours, broker: theirs } = broker.security() else { panic!() };
                assert_eq!((ours.public(), *theirs), (own.public(), pair.public()));
            }
            assert_eq!(files(&secret, &given).warnings(&brokers), [""; 0]);
            assert!(!format!("{brokers:?}").contains(&format!("{:?}", own.secret().reveal())));
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let (_, public, secret) = make(directory.path(), "own");
        let mut brokers = parse_brokers("tcp://h,tcp://i,tcp://j").unwrap();
        for (files, expected) in [
            (files(&secret, ""), "use keys: give both --key (ZIBRATO_KEY) and --broker-key"),
            (files("", &public), "use keys: give both"),
            (files(&secret, &format!("{public},{public}")), "use 2 keys for 3 brokers: give one for all"),
            (files(&public, &public), "it has a public key only"),
            (files(&secret, "/no/such/file"), "read key /no/such/file: No such file"),
        ] {
            let why = files.secure(&mut brokers).unwrap_err().to_string();
            assert!(why.contains(expected), "{why}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_secret_that_others_can_read_is_warned_of() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let (_, public, secret) = make(directory.path(), "own");
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
        let warnings = files(&secret, &public).warnings(&[]);
        assert!(warnings.len() == 1 && warnings[0].contains("chmod 600"), "{warnings:?}");
    }
}
