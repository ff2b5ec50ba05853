//! The units, as systemd's own tool sees them.

use std::process::Command;

use zibrato_trial::installed;

use super::{file, read};

const UNITS: [&str; 3] = ["zibrato-broker", "zibrato-librato", "zibrato-workers"];

fn analyze(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("systemd-analyze").args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn units_are_sound_and_as_closed_as_the_manual_says() {
    if !installed("systemd-analyze", "apt-get install systemd") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let manual = read("docs/operate.md");
    for name in UNITS {
        let unit = read(&format!("deploy/systemd/{name}.service"));
        // The programs are not installed here.
        let start = |line: &str| {
            if line.starts_with("ExecStart=") { "ExecStart=/bin/true".into() } else { line.to_owned() }
        };
        let lines: Vec<String> = unit.lines().map(start).collect();
        let copy = directory.path().join(format!("{name}.service"));
        std::fs::write(&copy, lines.join("\n")).unwrap();
        let copy = copy.to_str().unwrap();
        let (sound, said) = analyze(&["verify", "--man=no", copy]);
        assert!(sound && !said.contains(name), "{said}");

        let (_, said) = analyze(&["security", "--offline=yes", "--no-pager", copy]);
        let told = said.lines().find_map(|line| line.split_once("exposure level for ")?.1.split_once(": "));
        let figure: f64 = told.unwrap().1.split_whitespace().next().unwrap().parse().unwrap();
        let line = manual.lines().find(|line| line.contains(&format!("`{name}` "))).unwrap();
        let documented = line.split(&format!("`{name}` ")).nth(1).unwrap().split([',', ' ']).next().unwrap();
        // Newer versions look at more, and rate a little otherwise.
        let documented: f64 = documented.parse().unwrap();
        assert!(figure <= documented + 0.3, "{name}: {figure}, documented {documented}");
    }
}

#[test]
fn units_of_all_parts_are_told_apart_by_what_they_must_be() {
    for name in UNITS {
        let unit = read(&format!("deploy/systemd/{name}.service"));
        for line in
            ["Type=notify", "WatchdogSec=", "Restart=always", "DynamicUser=yes", "NoNewPrivileges=yes"]
        {
            assert!(unit.contains(line), "{name} lacks {line}");
        }
    }
    assert!(file("deploy/systemd").is_dir());
}
