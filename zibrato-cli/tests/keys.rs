//! `zibrato keys`, and keys in the hands of the other subcommands.
#![cfg(unix)]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use support::{Broker, Running, run, zibrato};

/// Runs it, and gives its status, output and complaints.
fn keys(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    run(zibrato(arguments).current_dir(directory))
}

#[test]
fn keys_are_made_shown_and_allowed() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| keys(directory.path(), arguments);
    let (code, out, err) = run(&["keys", "new", "web-1"]);
    assert!(code == 0 && out.contains("web-1.key_secret  to be kept secret"), "{out}{err}");
    let secret = std::fs::read_to_string(directory.path().join("web-1.key_secret")).unwrap();
    let secret = secret.lines().find_map(|line| line.trim().strip_prefix("secret-key = ")).unwrap();
    assert!(!out.contains(secret.trim_matches('"')), "secrets are never printed");
    let (code, key, _) = run(&["keys", "show", "web-1.key"]);
    assert!(code == 0 && key.trim().len() == 40 && out.contains(key.trim()), "{key}");
    assert_eq!(run(&["keys", "show", "web-1.key_secret"]).1, key);

    let (code, _, err) = run(&["keys", "new", "web-1"]);
    assert!(code == 1 && err.contains("a key is never overwritten"), "{err}");
    let (code, out, _) = run(&["keys", "new", "board", "--directory", "more/keys", "--json"]);
    assert!(code == 0 && out.contains("\"public_file\":\"more/keys/board.key\""), "{out}");
    let (code, _, err) = run(&["keys", "new", "../up"]);
    assert_eq!(code, 2);
    assert!(err.starts_with("zibrato: failed to write .: a name has up to 64 letters"), "{err}");

    let (code, out, err) = run(&["keys", "allow", "web-1.key", "--file", "a.toml", "--may", "send"]);
    assert!(code == 0 && out == "web-1 may send now, in a.toml\n", "{out}{err}");
    let board =
        ["keys", "allow", "more/keys/board.key", "--file", "a.toml", "--levels", "info", "--instances", "3"];
    assert_eq!(run(&board).0, 0);
    let (code, _, err) = run(&board);
    assert!(code == 1 && err.contains("a.toml:"), "{err}");
    let (code, out, _) = run(&["keys", "check", "a.toml"]);
    assert!(code == 0 && out.contains("web-1") && out.contains("send and receive"), "{out}");
    let (_, out, _) = run(&["keys", "check", "a.toml", "--json"]);
    assert!(out.lines().next().unwrap().contains("\"may\":[\"send\"]") && out.contains(key.trim()), "{out}");

    std::fs::write(directory.path().join("a.toml"), "[x]\nkey = 'nonsense'\n").unwrap();
    let (code, out, err) = run(&["keys", "check", "a.toml"]);
    assert!(
        code == 1 && out.is_empty() && err.contains("a.toml:2: x: \"nonsense\": a key is 40 characters"),
        "{err}"
    );
}

#[test]
fn keys_that_cannot_be_used_are_said_by_whoever_connects() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| keys(directory.path(), arguments);
    run(&["keys", "new", "a"]);
    for command in [&["info"][..], &["tail"], &["send", "counter", "c"]] {
        let (code, _, err) = run(&[command, &["--key", "a.key_secret"]].concat());
        assert!(code == 1 && err.contains("give both --key"), "{command:?}: {err}");
        let (code, _, err) = run(&[command, &["--key", "a.key", "--broker-key", "a.key"]].concat());
        assert!(code == 1 && err.contains("it has a public key only"), "{command:?}: {err}");
    }
}

#[test]
fn what_is_not_protected_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| keys(directory.path(), arguments);
    run(&["keys", "new", "a"]);
    let secret = directory.path().join("a.key_secret");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    // Nobody is there; what is said at the start counts.
    let info = ["info", "--deadline", "0.1", "--broker", "tcp://no-such-host.invalid"];
    let (_, _, err) = run(&info);
    assert!(err.contains("can be read and altered on the way: give --key and --broker-key"), "{err}");
    let (_, _, err) = run(&[&info[..], &["--key", "a.key_secret", "--broker-key", "a.key"]].concat());
    assert!(!err.contains("can be read and altered") && err.contains("chmod 600"), "{err}");
    let (_, _, err) = run(&["info", "--deadline", "2", "--broker", "tcp://127.0.0.1:1"]);
    assert!(!err.contains("on the way") && err.contains("failed to connect to tcp://127.0.0.1:3"), "{err}");
}

#[test]
fn with_keys_measurements_pass_the_broker_and_without_they_do_not() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| keys(directory.path(), arguments);
    for name in ["broker", "app", "tail", "stranger"] {
        assert_eq!(run(&["keys", "new", name]).0, 0);
    }
    for (name, may) in [("app", "send"), ("tail", "send,receive")] {
        let allow = ["keys", "allow", &format!("{name}.key"), "--file", "allowed.toml", "--may", may];
        assert_eq!(run(&allow).0, 0);
    }
    let path = |name: &str| directory.path().join(name).display().to_string();
    let broker =
        Broker::start_with(&["--keys", &path("broker.key_secret"), "--allow", &path("allowed.toml")]);
    let with = |who: &str, arguments: &[&str]| {
        let mut command = broker.zibrato(arguments);
        command.args(["--key", &path(&format!("{who}.key_secret")), "--broker-key", &path("broker.key")]);
        command
    };
    let tail = Running::start(with("tail", &["tail", "--json", "--interval", "0.1"]));
    tail.err.until(|line| line.contains("listening to"));
    let send = ["send", "counter", "c", "5", "--deadline", "1"];
    let (code, _, err) = support::run(&mut with("stranger", &send));
    assert!(code == 1 && err.contains("no broker at") && err.contains("is our key allowed there?"), "{err}");
    let (code, _, err) = support::run(&mut broker.zibrato(&send));
    assert!(
        code == 1 && err.contains("no broker at") && err.contains("give --key and --broker-key"),
        "{err}"
    );
    let (code, _, err) = support::run(&mut with("app", &["info", "--deadline", "1"]));
    assert!(code == 1 && err.contains("may this key receive there?"), "{err}");
    let (code, _, err) = support::run(&mut with("app", &["send", "counter", "c", "7", "--deadline", "30"]));
    assert_eq!((code, err.as_str()), (0, ""));
    let line = tail.out.next();
    assert!(line.contains("\"name\":\"c\"") && line.contains("\"sum\":7"), "{line}");
    let (code, out, err) = support::run(&mut with("tail", &["info", "--deadline", "30"]));
    assert!(code == 0 && out.contains("programs"), "{out}{err}");
}
