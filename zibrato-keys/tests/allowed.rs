//! The file of allowed identities: what it says, and what is refused with which words.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use proptest::prelude::*;
use zibrato_keys::{Allowed, Identity, KeyPair, Limits, PublicKey};

const ONE: &str = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";
const TWO: &str = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";

fn parse(text: &str) -> Result<Allowed, String> {
    Allowed::parse(Path::new("allowed.toml"), text).map_err(|why| why.to_string())
}

fn why(text: &str) -> String {
    parse(text).unwrap_err()
}

#[test]
fn an_identity_may_do_everything_unless_the_file_says_less() {
    let text = format!("[web-1]\nkey = \"{ONE}\"\n\n['dash.board']\nkeys = [\"{TWO}\"]\nmay = ['receive']\n");
    let text =
        text + "levels = 'info, error'\nframes_per_second = 1_000\nbytes_per_second = 0x10\ninstances = 3\n";
    let allowed = parse(&text).unwrap();
    let web = allowed.identify(&ONE.parse().unwrap()).unwrap();
    assert_eq!((web.name.as_str(), web.may_send, web.may_receive), ("web-1", true, true));
    assert!(["info", "zibrato", "mtrace"].iter().all(|level| web.levels.contains(level)));
    assert_eq!(web.limits, Limits::default());
    let board = allowed.identify(&TWO.parse().unwrap()).unwrap();
    assert_eq!((board.name.as_str(), board.may_send, board.may_receive), ("dash.board", false, true));
    assert!(board.levels.contains("error") && !board.levels.contains("debug"));
    let limits = Limits { frames_per_second: Some(1000), bytes_per_second: Some(16), instances: Some(3) };
    assert_eq!(board.limits, limits);
    let names: Vec<_> = allowed.identities().iter().map(|identity| identity.name.as_str()).collect();
    assert_eq!(names, ["web-1", "dash.board"]);
}

#[test]
fn a_stranger_is_nobody_and_an_empty_file_lets_nobody_in() {
    let stranger = KeyPair::generate().unwrap().public();
    assert_eq!(parse(&format!("[a]\nkey = '{ONE}'")).unwrap().identify(&stranger), None);
    let nobody = parse("# Nobody yet.\n").unwrap();
    assert!(nobody.identities().is_empty());
    assert_eq!(nobody.identify(&ONE.parse().unwrap()), None);
}

#[test]
fn an_identity_may_have_two_keys_while_one_takes_the_others_place() {
    let allowed = parse(&format!("[a]\nkeys = ['{ONE}', '{TWO}']")).unwrap();
    assert_eq!(allowed.identify(&ONE.parse().unwrap()), allowed.identify(&TWO.parse().unwrap()));
}

#[test]
fn errors_name_the_file_the_line_and_the_identity() {
    let good = format!("[good]\nkey = \"{ONE}\"\n\n");
    let cases = [
        ("[web", "read allowed identities allowed.toml:4: "),
        ("[web]\n", "allowed.toml:4: web: it has no key: add key"),
        ("[web]\nkey = \"short\"", "allowed.toml:5: web: \"short\": a key is 40 characters"),
        ("[web]\nkey = 7", "allowed.toml:5: web: a key is a text"),
        ("[web]\nkeys = \"x\"", "allowed.toml:5: web: keys is a list"),
        ("[web]\nmay = [\"admin\"]", "allowed.toml:5: web: may is a list of \"send\" and \"receive\""),
        ("[web]\nmay = []", "allowed.toml:5: web: may is a list"),
        ("[web]\n\nlevels = \"a b\"", "allowed.toml:6: web: failed to read level \"a b\""),
        ("[web]\nlevel = \"info\"", "allowed.toml:5: web: unknown key \"level\"; there are key, "),
        ("[web]\ninstances = 0", "allowed.toml:5: web: a limit is a number from 1"),
        ("[web]\ninstances = -1", "allowed.toml:5: web: a limit is a number from 1"),
        ("[web]\nbytes_per_second = 1.5", "allowed.toml:5: web: a limit is a number from 1"),
        ("[web.1]\nkey = \"x\"", "allowed.toml:4: web: unknown table \"1\"; a name with a dot"),
        ("['we b']", "allowed.toml:4: we b: a name has up to 64 letters"),
    ];
    for (text, expected) in cases {
        let text = good.clone() + text;
        let why = why(&text);
        assert!(why.contains(expected), "{text:?}: {why}");
    }
    assert!(why("\nweb = 3").ends_with("allowed.toml:2: web: write a table for each identity: [web]"));
}

#[test]
fn a_key_belongs_to_one_identity() {
    let why = why(&format!("[a]\nkey = '{ONE}'\n[b]\nkey = '{ONE}'"));
    assert!(why.ends_with("allowed.toml:4: b: a has the same key: give each its own"), "{why}");
    let why = parse(&format!("[a]\nkeys = ['{ONE}', '{ONE}']")).unwrap_err();
    assert!(why.ends_with("allowed.toml:2: a: it has the same key twice"), "{why}");
}

#[test]
fn identities_are_added_to_what_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("allowed.toml");
    let key = |text: &str| vec![text.parse::<PublicKey>().unwrap()];
    Allowed::add(&path, &Identity::new("a.b", key(ONE))).unwrap();
    std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "# A comment.").unwrap();
    let mut second = Identity::new("two", key(TWO));
    (second.may_send, second.levels, second.limits.instances) = (false, "info".parse().unwrap(), Some(9));
    Allowed::add(&path, &second).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let expected = format!(
        "[\"a.b\"]\nkey = \"{ONE}\"\n# A comment.\n\n[two]\nkey = \"{TWO}\"\nmay = [\"receive\"]\nlevels = \"info\"\n\
         instances = 9\n"
    );
    assert_eq!(text, expected);
    assert_eq!(Allowed::read(&path).unwrap().identify(&second.keys[0]).unwrap().as_ref(), &second);
    let stranger = vec![KeyPair::generate().unwrap().public()];
    for again in [Identity::new("three", key(ONE)), Identity::new("two", stranger)] {
        assert!(Allowed::add(&path, &again).is_err());
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    std::fs::write(&path, "[x]\n").unwrap();
    assert!(
        Allowed::add(&path, &second).unwrap_err().to_string().contains("allowed.toml:1: x: it has no key")
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let why = Allowed::read(Path::new("/no/such/allowed.toml")).unwrap_err().to_string();
    assert!(why.starts_with("read allowed identities /no/such/allowed.toml: No such file"), "{why}");
    assert!(why.ends_with("an empty file lets nobody in, and `zibrato keys allow` adds to it"), "{why}");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text: String) {
        let _ = parse(&text);
    }

    #[test]
    fn no_table_makes_it_panic(key in "key|keys|may|levels|instances", value in ".{0,20}|[0-9\"'\\[\\]_x.-]{0,20}") {
        let _ = parse(&format!("[a]\n{key} = {value}\n"));
    }

    #[test]
    fn every_identity_is_read_as_it_was_written(
        name in "[a-zA-Z0-9_-][a-zA-Z0-9_.-]{0,63}", secrets in prop::collection::hash_set(any::<[u8; 32]>(), 1..4),
        may in 1..4u8, levels in "[*]|[*],mtrace|info|info,error|[*],!debug",
        limits: [Option<u32>; 3],
    ) {
        let keys = secrets.into_iter().map(|bytes| zibrato_keys::SecretKey::from_bytes(bytes).public()).collect();
        let mut identity = Identity::new(name, keys);
        (identity.may_send, identity.may_receive) = (may & 1 != 0, may & 2 != 0);
        identity.levels = levels.parse().unwrap();
        let [frames_per_second, bytes_per_second, instances] = limits.map(|l| l.map(|l| u64::from(l) + 1));
        identity.limits = Limits { frames_per_second, bytes_per_second, instances };
        let allowed = parse(&identity.to_toml()).unwrap();
        prop_assert_eq!(allowed.identities()[0].as_ref(), &identity);
    }

    #[test]
    fn everybody_in_the_file_is_known(secrets: Vec<[u8; 32]>) {
        let keys: std::collections::BTreeSet<_> = secrets
            .into_iter()
            .map(|bytes| KeyPair::new(zibrato_keys::SecretKey::from_bytes(bytes)).public())
            .collect();
        let text: String =
            keys.iter().enumerate().map(|(i, key)| format!("[i{i}]\nkey = \"{key}\"\n")).collect();
        let allowed = parse(&text).unwrap();
        for (i, key) in keys.iter().enumerate() {
            prop_assert_eq!(&allowed.identify(key).unwrap().name, &format!("i{i}"));
        }
    }
}
