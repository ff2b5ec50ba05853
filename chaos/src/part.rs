//! A part of the fleet: a process that is started, killed, stopped, and started again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use crate::clock;

/// What a process and all its predecessors have used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Usage {
    /// Seconds of the processor.
    pub cpu_seconds: f64,
    /// The most memory that one of them had, in KiB.
    pub peak_rss_kib: u64,
    /// How often it was started.
    pub starts: u64,
}

/// A part, and its process while it runs.
pub struct Part {
    /// What it is called in reports; its log is of the same name.
    pub name: String,
    log: PathBuf,
    child: Option<Child>,
    usage: Usage,
    sample: Usage,
    /// When it is to be started again.
    again: Option<Instant>,
    is_paused: bool,
}

impl Part {
    /// A part that does not run yet.
    pub fn new(name: &str, logs: &Path) -> Part {
        Part {
            name: name.into(),
            log: logs.join(format!("{name}.log")),
            child: None,
            usage: Usage::default(),
            sample: Usage::default(),
            again: None,
            is_paused: false,
        }
    }

    /// Starts it, unless it runs.
    ///
    /// # Errors
    /// When the system has no process to give.
    pub fn start(&mut self, mut command: Command) -> std::io::Result<()> {
        self.again = None;
        if self.child.is_some() {
            return Ok(());
        }
        let log = File::options().create(true).append(true).open(&self.log)?;
        command.stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn()?);
        self.usage.starts += 1;
        Ok(())
    }

    /// The process, if it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Whether it was stopped with STOP.
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Its log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// As `kill -9` does.
    pub fn kill(&mut self) {
        self.measure();
        if let Some(mut child) = self.child.take() {
            let id = child.id();
            // Either fails only where it has ended by itself.
            let _ = child.kill();
            let _ = child.wait();
            clock::clean_up(id);
            self.ended();
        }
    }

    /// Tells it to end, once the part is asked again whether it [has ended](Part::has_ended).
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Closes its standard input.
    pub fn close_input(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.stdin.take());
        }
    }

    /// Stops it, or lets it go on.
    pub fn pause(&mut self, pause: bool) {
        self.signal(if pause { Signal::STOP } else { Signal::CONT });
        self.is_paused = pause && self.child.is_some();
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(child) = &self.child {
            // It fails only where it has ended by itself.
            let _ = kill_process(Pid::from_child(child), signal);
        }
    }

    /// How it has ended, if it has by now.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        if let Some(child) = self.child.take() {
            clock::clean_up(child.id());
        }
        self.ended();
        Some(status)
    }

    fn ended(&mut self) {
        self.is_paused = false;
        self.usage.cpu_seconds += self.sample.cpu_seconds;
        self.sample = Usage::default();
    }

    /// Has it [due](Part::is_due) after a while.
    pub fn start_after(&mut self, wait: Duration) {
        self.again = Some(Instant::now() + wait);
    }

    /// Whether it is time to start it again.
    pub fn is_due(&self) -> bool {
        self.child.is_none() && self.again.is_some_and(|again| again <= Instant::now())
    }

    /// Whether it was told when to start again.
    pub fn will_start(&self) -> bool {
        self.again.is_some()
    }

    /// Takes note of what it uses; to be done again and again, because what has ended does not say it any more.
    pub fn measure(&mut self) {
        let Some(id) = self.id() else { return };
        let Some((cpu, rss)) = used(id) else { return };
        self.sample.cpu_seconds = cpu;
        self.usage.peak_rss_kib = self.usage.peak_rss_kib.max(rss);
    }

    /// What it has used.
    pub fn usage(&self) -> Usage {
        Usage { cpu_seconds: self.usage.cpu_seconds + self.sample.cpu_seconds, ..self.usage }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Seconds of the processor, and the most memory in KiB, of a process.
pub fn used(process: u32) -> Option<(f64, u64)> {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{process}/{file}")).ok();
    let stat = read("stat")?;
    // The name, which may have blanks, is in parentheses.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let cpu = (ticks(11)? + ticks(12)?) as f64 / rustix::param::clock_ticks_per_second() as f64;
    let status = read("status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some((cpu, peak.trim().trim_end_matches(" kB").parse().ok()?))
}

/// A command without what the environment says to Zibrato.
pub fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("ZIBRATO_") || name.starts_with("LIBRATO_")) {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}
