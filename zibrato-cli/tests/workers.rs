//! Several workers from one configuration file.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::process::Signal;
use support::{Broker, DEADLINE, Running, run, zibrato};
use zibrato_librato::endpoint::{Config, Endpoint};

struct Place {
    directory: tempfile::TempDir,
    broker: Broker,
    endpoint: Endpoint,
}

impl Place {
    fn new() -> Place {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("token"), "tok").unwrap();
        Place { directory, broker: Broker::start(), endpoint: Endpoint::start(Config::default()).unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("zibrato.toml")
    }

    /// Writes a file with what is common to all, and these sections.
    fn configure(&self, sections: &str) {
        let common = format!(
            "broker = {:?}\nstate = {:?}\nflush = 0.2\n",
            self.broker.url,
            self.directory.path().join("state")
        );
        let url = format!("url = {:?}\nusername = \"me@example.com\"", self.endpoint.url());
        let token = format!("token-file = {:?}", self.directory.path().join("token"));
        let sections = sections.replace("LOGIN", &format!("backend = \"librato\"\n{url}\n{token}"));
        std::fs::write(self.file(), common + &sections).unwrap();
    }

    fn workers(&self) -> Running {
        let file = self.file();
        Running::start(zibrato(&["workers", "--config", file.to_str().unwrap()]))
    }

    fn count(&self, name: &str, by: &str) {
        let (code, _, err) = run(&mut self.broker.zibrato(&["send", "counter", name, by, "--source", "s"]));
        assert_eq!(code, 0, "{err}");
    }

    fn until(&self, name: &str, wanted: i128) {
        let began = Instant::now();
        let total = || self.endpoint.total(name, "s").value.whole();
        while total() != Some(wanted) {
            assert!(began.elapsed() < DEADLINE, "{name} is {:?}, not {wanted}", total());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

#[test]
fn workers_share_a_subscription_and_each_sends_its_own() {
    let place = Place::new();
    place.configure(
        "[workers.all]\nLOGIN\nlevels = \"info\"\n[workers.web]\nLOGIN\nkeep = \"web.*\"\ndrop = \"*.noise\"\n\
         rename = \"web.*=site.*\"\nlevels = [\"info\", \"debug\"]\n",
    );
    let mut workers = place.workers();
    for _ in 0..2 {
        workers.err.until(|line| line.contains("worker starts"));
    }
    place.count("web.requests", "5");
    place.count("web.noise", "7");
    place.count("db.queries", "11");
    for (name, total) in [("web.requests", 5), ("site.requests", 5), ("web.noise", 7), ("db.queries", 11)] {
        place.until(name, total);
    }
    workers.signal(Signal::TERM);
    assert!(workers.wait().success());
    assert_eq!(place.endpoint.total("site.noise", "s").value.whole().unwrap_or_default(), 0);
    for name in ["all", "web"] {
        assert!(place.directory.path().join("state").join(name).join("state.db").exists());
    }
}

#[test]
fn a_reload_loses_nothing_and_a_wrong_file_changes_nothing() {
    let place = Place::new();
    place.configure("[workers.a]\nLOGIN\n[workers.b]\nLOGIN\nrename = \"*=b.*\"\n");
    let mut workers = place.workers();
    for _ in 0..2 {
        workers.err.until(|line| line.contains("worker starts"));
    }
    let mut total = 0i128;
    let mut count = || {
        total += 1;
        place.count("jobs", "1");
        total
    };
    place.until("jobs", count());
    std::fs::write(place.file(), "flsh = 1").unwrap();
    workers.signal(Signal::HUP);
    workers.err.until(|line| line.contains("did you mean") && line.contains("goes on as it was"));
    place.until("jobs", count());
    // One stays, one changes, one is new.
    place.configure("[workers.a]\nLOGIN\n[workers.b]\nLOGIN\nrename = \"*=c.*\"\n[workers.d]\nLOGIN\nrename = \"*=d.*\"\n");
    workers.signal(Signal::HUP);
    for _ in 0..3 {
        count();
    }
    workers.err.until(|line| line.contains("read again") && line.contains("stayed=1 ended=1 started=2"));
    let last = count();
    place.until("jobs", last);
    let began = Instant::now();
    loop {
        let part = |name: &str| place.endpoint.total(name, "s").value.whole().unwrap_or_default();
        let (before, after) = (part("b.jobs"), part("c.jobs"));
        if before + after == last && part("d.jobs") >= 1 {
            assert!(before >= 2 && after >= 1, "{before} and {after}");
            break;
        }
        assert!(began.elapsed() < DEADLINE, "{before} and {after} of {last}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    workers.signal(Signal::TERM);
    assert!(workers.wait().success());
}

#[test]
fn a_file_is_explained() {
    let place = Place::new();
    place
        .configure("[workers.web]\nLOGIN\nkeep = \"web.*\"\nrename = \"web.*=site.*\"\ntag = \"env=prod\"\n");
    let file = place.file();
    let check = |more: &[&str]| {
        let arguments = [&["config", "check", "--config", file.to_str().unwrap()], more].concat();
        run(&mut zibrato(&arguments))
    };
    let (code, out, err) = check(&["counter", "web.hits", "3", "--source", "here"]);
    assert_eq!(code, 0, "{err}");
    for part in ["1 worker ", "web librato", "every 0.2 s", "site.hits", "\"value\":3", "env"] {
        assert!(out.contains(part), "{part:?} in {out}");
    }
    assert!(!out.contains("tok\""), "{out}");
    assert!(check(&["gauge", "db.size", "1"]).1.contains("left out by --keep"));
    std::fs::remove_file(place.directory.path().join("token")).unwrap();
    let (code, out, _) = check(&[]);
    assert!(code == 1 && out.contains("could not start") && out.contains("token"), "{out}");
    // The port of a worker that runs, perhaps the very one, is not in the way.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("[workers.prometheus]\nlisten = \"{}\"\n", taken.local_addr().unwrap());
    std::fs::write(&file, listen).unwrap();
    let (code, out, err) = check(&[]);
    assert_eq!(code, 0, "{out}{err}");
    // What a section says goes before the environment.
    std::fs::write(&file, "[workers.json]\nfile = \"x\"\n").unwrap();
    let arguments = ["config", "check", "--config", file.to_str().unwrap()];
    let (code, out, err) = run(zibrato(&arguments).env("JSON_URL", "http://127.0.0.1"));
    assert_eq!(code, 0, "{out}{err}");
    std::fs::write(&file, "[workers.x]\nbackend = \"librato\"\n\nnope = 1\n").unwrap();
    let (code, _, err) = check(&[]);
    assert!(code == 1 && err.contains("zibrato.toml:4: unknown key \"nope\""), "{err}");
    let (code, _, err) = run(&mut zibrato(&["workers", "--config", Path::new("/no/file").to_str().unwrap()]));
    assert!(code == 1 && err.contains("/no/file: "), "{err}");
}
