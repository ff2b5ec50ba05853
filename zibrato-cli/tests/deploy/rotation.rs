//! Files of lines under the real logrotate.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use rustix::process::Signal;
use zibrato_trial::installed;

use crate::support::{Broker, DEADLINE, Running, run};

use super::read;

/// The total of a counter in all files whose names begin alike.
fn total(directory: &Path, name: &str) -> i64 {
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let of_it = files.filter(|file| file.file_name().to_string_lossy().starts_with(name));
    let texts = of_it.map(|file| {
        // The packed ones are never looked into before they are whole: logrotate has ended.
        let path = file.path();
        if path.extension().is_some_and(|ending| ending == "gz") {
            let output = Command::new("gzip").arg("-dc").arg(&path).output().unwrap();
            assert!(output.status.success());
            String::from_utf8(output.stdout).unwrap()
        } else {
            std::fs::read_to_string(path).unwrap()
        }
    });
    let lines = |text: String| -> i64 {
        let values = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        values.filter(|line| line["name"] == "jobs").map(|line| line["value"].as_i64().unwrap()).sum()
    };
    texts.map(lines).sum()
}

#[test]
fn logrotate_takes_nothing_away() {
    if !installed("logrotate", "apt-get install logrotate") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start();
    let lines = directory.path().join("lines");
    std::fs::create_dir(&lines).unwrap();
    let file = lines.join("all.jsonl");
    let snippet = read("deploy/logrotate/zibrato");
    let (_, rest) = snippet.split_once("\n/var").unwrap();
    let (_, body) = rest.split_once('{').unwrap();
    // Older files than this test makes are thrown away; and who owns the directory does not matter here.
    let body = body.replace("rotate 14", "rotate 100").replace("nocreate", "nocreate\n    su root root");
    let config = directory.path().join("logrotate.conf");
    std::fs::write(&config, format!("{} {{{body}", file.display())).unwrap();
    let mut command = broker.zibrato(&["json", "--flush", "0.05", "--levels", "info"]);
    command.arg("--file").arg(&file).arg("--state").arg(directory.path().join("state"));
    let mut worker = Running::start(command);
    let count = || {
        let (code, _, err) = run(&mut broker.zibrato(&["send", "counter", "jobs", "--source", "s"]));
        assert_eq!(code, 0, "{err}");
    };
    let mut counted = 0;
    let begun = Instant::now();
    while !lines.join("all.jsonl.3.gz").exists() {
        assert!(begun.elapsed() < DEADLINE);
        count();
        counted += 1;
        if !file.exists() {
            continue;
        }
        let mut rotate = Command::new("/usr/sbin/logrotate");
        rotate.arg("--force").arg("--state").arg(directory.path().join("rotated")).arg(&config);
        let output = rotate.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // Some send it after they have rotated.
        worker.signal(Signal::HUP);
    }
    let begun = Instant::now();
    while total(&lines, "all.jsonl") != counted {
        assert!(begun.elapsed() < DEADLINE, "{} of {counted}", total(&lines, "all.jsonl"));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    worker.signal(Signal::TERM);
    assert!(worker.wait().success());
    assert_eq!(total(&lines, "all.jsonl"), counted);
    assert!(lines.join("all.jsonl.1").exists());
}
