//! The programs of `deploy/supervisor` under the real supervisord.

use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use zibrato_librato::endpoint::{Config, Endpoint};
use zibrato_trial::installed;

use crate::support::{DEADLINE, run, zibrato};

use super::read;

const PROGRAMS: [&str; 3] = ["zibrato-broker", "zibrato-librato", "zibrato-workers"];

/// Everything in one directory, which the user of the programs may use.
struct Place {
    directory: tempfile::TempDir,
    supervisord: Child,
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.supervisord), Signal::TERM);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) && self.supervisord.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.supervisord.kill();
        let _ = self.supervisord.wait();
    }
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn control(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("supervisorctl");
        let output = command.arg("-c").arg(self.path("supervisord.conf")).args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until a program is in a state; its process.
    fn until(&self, program: &str, state: &str) -> Option<i32> {
        let begun = Instant::now();
        loop {
            let told = self.control(&["status", program]);
            if told.split_whitespace().nth(1) == Some(state) {
                let pid = told.split_once("pid ").and_then(|(_, rest)| rest.split(',').next()?.parse().ok());
                return pid;
            }
            let log =
                || std::fs::read_to_string(self.path(&format!("log/{program}.log"))).unwrap_or_default();
            assert!(begun.elapsed() < DEADLINE, "{program} is not {state}: {told}{}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The first of three free ports that follow each other.
fn three_ports() -> u16 {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        let is_free = |offset: u16| TcpListener::bind(("127.0.0.1", port.saturating_add(offset))).is_ok();
        if is_free(1) && is_free(2) {
            return port;
        }
    }
}

/// Lets a directory or file belong to the user that the programs have.
fn give(path: &Path, mode: u32, user: Option<u32>) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    if let Some(user) = user {
        chown(path, Some(user), Some(user)).unwrap();
    }
}

fn total(file: &Path) -> i64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.filter(|line| line["name"] == "jobs").map(|line| line["value"].as_i64().unwrap()).sum()
}

#[test]
fn supervisord_keeps_them_running_and_nothing_is_lost() {
    let there = installed("supervisord", "apt-get install supervisor");
    if !there || !installed("supervisorctl", "apt-get install supervisor") {
        return;
    }
    // Programs have a user of their own where supervisord is root's.
    let user = rustix::process::geteuid().is_root().then_some(65534);
    let endpoint = Endpoint::start(Config::default()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    give(directory.path(), 0o755, None);
    std::fs::copy(env!("CARGO_BIN_EXE_zibrato"), at("zibrato")).unwrap();
    give(&at("zibrato"), 0o755, None);
    for name in ["etc", "log", "lib", "lib/zibrato-broker", "lib/zibrato-librato", "lib/zibrato-workers"] {
        std::fs::create_dir(at(name)).unwrap();
        give(&at(name), if name.contains('/') { 0o700 } else { 0o755 }, user.filter(|_| name.contains('/')));
    }
    let port = three_ports();
    let url = format!("tcp://127.0.0.1:{port}");
    let lines = at("lib/zibrato-workers/all.jsonl");
    std::fs::write(at("etc/librato.token"), "tok").unwrap();
    give(&at("etc/librato.token"), 0o400, user);
    let toml = format!(
        "broker = {url:?}\nflush = 0.2\nlevels = \"info\"\n[workers.all]\nbackend = \"json\"\nfile = {lines:?}\n"
    );
    std::fs::write(at("etc/zibrato.toml"), toml).unwrap();
    give(&at("etc/zibrato.toml"), 0o444, user);

    let mut config = format!(
        "[unix_http_server]\nfile={0}/socket\n[supervisord]\nlogfile={0}/supervisord.log\npidfile={0}/pid\n{1}\
         [rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n\
         [supervisorctl]\nserverurl=unix://{0}/socket\n",
        directory.path().display(),
        if user.is_some() { "user=root\n" } else { "" },
    );
    let place = directory.path().display().to_string();
    let more = format!(
        ",ZIBRATO_PORT=\"{port}\",ZIBRATO_BROKER=\"{url}\",ZIBRATO_FLUSH=\"0.2\",ZIBRATO_LEVELS=\"info\",\
         LIBRATO_URL=\"{}\",ZIBRATO_VERBOSE=\"2\"\n",
        endpoint.url()
    );
    for program in PROGRAMS {
        let mut lines = String::new();
        for line in read(&format!("deploy/supervisor/{program}.conf")).lines() {
            let line = line
                .replace("/usr/local/bin/zibrato-broker", &format!("{place}/zibrato broker"))
                .replace("/usr/local/bin/zibrato-librato", &format!("{place}/zibrato librato"))
                .replace("/usr/local/bin/zibrato ", &format!("{place}/zibrato "))
                .replace("/var/lib/", &format!("{place}/lib/"))
                .replace("/etc/zibrato/", &format!("{place}/etc/"))
                .replace("/var/log/supervisor/", &format!("{place}/log/"))
                // So little is logged.
                .replace("maxbytes=50MB", "maxbytes=200")
                .replace("you@example.com", "me@example.com");
            match (line.as_str(), user) {
                ("user=zibrato", None) => {}
                ("user=zibrato", Some(_)) => lines += "user=nobody\n",
                (environment, _) if environment.starts_with("environment=") => lines += &(line + &more),
                _ => lines += &(line + "\n"),
            }
        }
        config += &lines;
    }
    std::fs::write(at("supervisord.conf"), config).unwrap();
    let mut command = Command::new("supervisord");
    command.arg("-n").arg("-c").arg(at("supervisord.conf")).current_dir(directory.path());
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let supervisord = quiet.spawn().unwrap();
    let place = Place { directory, supervisord };

    for program in PROGRAMS {
        place.until(program, "RUNNING");
    }
    let mut counted = 0;
    let mut count = || {
        let (code, _, err) =
            run(&mut zibrato(&["send", "counter", "jobs", "--source", "s", "--broker", &url]));
        assert_eq!(code, 0, "{err}");
        counted += 1;
        counted
    };
    count();
    for program in PROGRAMS {
        let before = place.until(program, "RUNNING").unwrap();
        kill_process(Pid::from_raw(before).unwrap(), Signal::KILL).unwrap();
        let begun = Instant::now();
        while place.until(program, "RUNNING").unwrap() == before {
            assert!(begun.elapsed() < DEADLINE);
            std::thread::sleep(Duration::from_millis(20));
        }
        count();
    }
    let counted = count();
    let everywhere = || (total(&lines), endpoint.total("jobs", "s").value.whole().unwrap_or_default());
    let begun = Instant::now();
    while everywhere() != (counted, i128::from(counted)) {
        assert!(begun.elapsed() < DEADLINE, "{:?} of {counted}", everywhere());
        std::thread::sleep(Duration::from_millis(20));
    }
    for program in PROGRAMS {
        let log = place.path(&format!("log/{program}.log"));
        let rotated = log.with_extension("log.1");
        let begun = Instant::now();
        while !rotated.exists() {
            assert!(begun.elapsed() < DEADLINE, "{} is not rotated", log.display());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    for program in PROGRAMS.iter().rev() {
        place.control(&["stop", program]);
        place.until(program, "STOPPED");
    }
    let log = std::fs::read_to_string(place.path("supervisord.log")).unwrap();
    for program in PROGRAMS {
        let ended = log.lines().rfind(|line| line.contains(&format!("stopped: {program} ")));
        assert!(ended.is_some_and(|line| line.contains("exit status 0")), "{log}");
    }
    assert_eq!(everywhere(), (counted, i128::from(counted)));
}
