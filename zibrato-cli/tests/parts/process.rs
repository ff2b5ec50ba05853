//! A process of a test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::until;

/// A process whose stderr goes to a file. When it is dropped it is killed.
#[derive(Debug)]
pub struct Process {
    pub child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Process {
        let file = File::options().create(true).append(true).open(log).unwrap();
        let child = command.stderr(Stdio::from(file)).spawn().unwrap();
        Process { child, name: name.into(), log: log.into() }
    }

    /// What it has logged, and whoever logged into the same file before.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn assert_runs(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("{} has ended: {status}", self.name);
        }
    }

    /// As `kill -9` does.
    pub fn kill(mut self) {
        self.assert_runs();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, and waits until it has.
    pub fn terminate(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = self.wait();
        assert!(status.success(), "{} ended: {status}", self.name);
    }

    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        until(&format!("the end of {}", self.name), || {
            status = self.child.try_wait().unwrap();
            status.map(drop).ok_or_else(|| "it runs".into())
        });
        status.unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended, which is all that is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
