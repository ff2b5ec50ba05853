//! Certificate files: ours, pyzmq's and czmq's.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use zibrato_keys::{Error, Files, KeyPair, PublicKey, exposure};

const PUBLIC: &str = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";
const SECRET: &str = "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs";

fn file(directory: &Path, text: &str) -> PathBuf {
    let path = directory.join("some.key_secret");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_pair_is_read_as_it_was_written_and_never_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("new/folder");
    let files = Files::of(&folder, "web-1").unwrap();
    let pair = KeyPair::generate().unwrap();
    files.write(&pair).unwrap();
    assert_eq!(files.public, folder.join("web-1.key"));
    assert_eq!(KeyPair::read(&files.secret).unwrap().secret().reveal(), pair.secret().reveal());
    assert_eq!(PublicKey::read(&files.secret), Ok(pair.public()));
    assert_eq!(PublicKey::read(&files.public), Ok(pair.public()));
    assert_eq!(exposure(&files.secret), None);

    let other = KeyPair::generate().unwrap();
    let why = files.write(&other).unwrap_err().to_string();
    assert!(why.contains("web-1.key: it exists, and a key is never overwritten"), "{why}");
    std::fs::remove_file(&files.public).unwrap();
    let why = files.write(&other).unwrap_err().to_string();
    assert!(why.contains("web-1.key_secret: it exists"), "{why}");
    assert!(!files.public.exists(), "a public key without its secret is not left behind");
    assert_eq!(KeyPair::read(&files.secret).unwrap().public(), pair.public());
}

#[cfg(unix)]
#[test]
fn a_secret_is_for_its_owner_and_whoever_widens_that_is_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let files = Files::of(directory.path(), "a").unwrap();
    files.write(&KeyPair::generate().unwrap()).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&files.secret), 0o600);
    for (mode, told) in [(0o400, false), (0o440, false), (0o660, true), (0o604, true), (0o644, true)] {
        std::fs::set_permissions(&files.secret, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(exposure(&files.secret).is_some(), told, "{mode:o}");
    }
    assert!(exposure(&files.secret).unwrap().contains("(mode 0644): chmod 600 it"));
}

#[test]
fn files_of_pyzmq_and_czmq_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let pyzmq = format!(
        "#   ****  Generated on 2026-01-01 10:00:00.0 by pyzmq  ****\n#   ZeroMQ CURVE **Secret** Certificate\n\n\
         metadata\n    name = web = 1\ncurve\n    public-key = \"{PUBLIC}\"\n    secret-key = \"{SECRET}\"\n"
    );
    assert_eq!(KeyPair::read(&file(directory.path(), &pyzmq)).unwrap().public().to_string(), PUBLIC);
    let czmq = format!(
        "#   ****  Generated on 2026-01-01 by CZMQ  ****\n\nmetadata\r\ncurve\r\n    public-key = \"{PUBLIC}\"\r\n    \
         secret-key = \"{}\"\r\n",
        "0".repeat(40)
    );
    let path = file(directory.path(), &czmq);
    assert_eq!(PublicKey::read(&path).unwrap().to_string(), PUBLIC);
    let why = KeyPair::read(&path).unwrap_err().to_string();
    assert!(why.ends_with("it has a public key only: give the file NAME.key_secret"), "{why}");
    for bare in [format!("secret-key={SECRET}"), format!("  secret-key   =  '{SECRET}'  ")] {
        assert_eq!(KeyPair::read(&file(directory.path(), &bare)).unwrap().public().to_string(), PUBLIC);
    }
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_without_the_secret() {
    let directory = tempfile::tempdir().unwrap();
    let cases = [
        (format!("curve\n    secret-key = \"{}\"\n", &SECRET[1..]), ":2: secret-key: a key is 40 characters"),
        (
            format!("secret-key = \"{SECRET}\"\npublic-key = \"{}\"\n", "1".repeat(40)),
            ":2: its public key does not",
        ),
        (format!("public-key = \"{PUBLIC}\"\n"), ": it has a public key only"),
        (format!("# secret-key = \"{SECRET}\"\n"), ": it has no key"),
        (String::new(), ": it has no key"),
        ("x".repeat(70_000), ": it is longer than 65536 bytes"),
    ];
    for (text, expected) in cases {
        let why = KeyPair::read(&file(directory.path(), &text)).unwrap_err().to_string();
        assert!(why.starts_with("read key ") && why.contains(expected), "{why}");
        assert!(!why.contains(&SECRET[1..]), "{why}");
    }
    let why = KeyPair::read(&directory.path().join("none")).unwrap_err();
    assert!(
        matches!(why, Error::Key { line: None, .. }) && why.to_string().contains("No such file"),
        "{why}"
    );
}

#[test]
fn a_name_stays_in_its_directory() {
    for name in ["", "../a", ".a", "a/b", "a b", "ä", &"x".repeat(65)] {
        assert!(Files::of(Path::new("."), name).is_err(), "{name:?}");
    }
}
