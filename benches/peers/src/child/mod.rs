//! What is measured in processes of its own, because there is one registry in a process. A child prints lines of a
//! name and a number.

mod cpu;
mod encoding;
mod idle;
mod reading;

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::table::figure;

/// What a process of its own measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Child {
    ReadingSites,
    ReadingHandles,
    Encoding,
    IdleAbsent,
    IdlePresent,
}

impl Child {
    const ALL: [(Child, &'static str); 5] = [
        (Child::ReadingSites, "reading-sites"),
        (Child::ReadingHandles, "reading-handles"),
        (Child::Encoding, "encoding"),
        (Child::IdleAbsent, "idle-absent"),
        (Child::IdlePresent, "idle-present"),
    ];

    /// Measures it in this process.
    pub(crate) fn run(self, quick: bool) {
        match self {
            Child::ReadingSites => reading::sites(quick),
            Child::ReadingHandles => reading::handles(),
            Child::Encoding => encoding::run(),
            Child::IdleAbsent => idle::absent(quick),
            Child::IdlePresent => idle::present(quick),
        }
    }
}

/// What the children have said.
#[derive(Debug, Default)]
pub(crate) struct Measured(HashMap<String, f64>);

impl Measured {
    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// Prints what is no ratio and no target, and what the targets are made of.
    pub(crate) fn print(&self) {
        println!("### Beside the events\n\n| | |\n|---|---|");
        for (name, what, unit) in [
            ("sites.whole", "one reading of 512 call sites on 8 threads, whole", " µs"),
            ("sites.slope", "… for each thread more and each of them", " ns"),
            ("handles.whole", "one reading of 512 handles on 8 threads, whole", " µs"),
            ("handles.slope", "… for each thread more and each of them", " ns"),
            ("metric", "… for each metric, whatever the threads", " ns"),
            (
                "writer.alone",
                "a count in place after a random number, while nobody reads (CPU time, minimum)",
                " ns",
            ),
            (
                "writer.beside",
                "the same, while another thread spins every millisecond for as long as a reading takes",
                " ns",
            ),
            ("writer.read", "the same, while another thread reads all of the above every millisecond", " ns"),
            ("writer.slowed", "… slower than while nobody reads by", " %"),
            ("snapshot.first", "10,000 metrics × 8 threads, the first snapshot and its encoding, CPU", " ms"),
            ("snapshot.median", "the same again, all metrics changed (median)", " ms"),
            ("snapshot.bytes", "its frames", " bytes"),
            ("idle.absent", "the publisher's thread, 100 idle metrics, no broker, of a core", " %"),
            ("idle.present", "the same with a broker", " %"),
            (
                "memory.site",
                "memory of a counter in each thread, at a call site (8 bytes of it thread-local)",
                " bytes",
            ),
            ("memory.handle", "… through a handle", " bytes"),
            ("memory.timer", "memory of a timer in each thread, durations from 1 µs to 1 ms", " bytes"),
        ] {
            let value =
                self.get(name).map_or_else(|| "not measured".into(), |v| format!("{}{unit}", figure(v)));
            println!("| {what} | {value} |");
        }
        println!();
    }

    fn take(&mut self, program: &Path, args: &[&str]) {
        eprintln!("{} {}", program.display(), args.join(" "));
        let output = Command::new(program).args(args).stderr(Stdio::inherit()).output();
        let text = match output {
            Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
            Ok(output) => return eprintln!("failed to run {}: {}", program.display(), output.status),
            Err(why) => return eprintln!("failed to start {}: {why}", program.display()),
        };
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        self.0.extend(pairs.filter_map(|(name, value)| Some((name.into(), value.parse().ok()?))));
    }
}

/// Runs all of them, one after the other.
pub(crate) fn all(quick: bool) -> Measured {
    let mut measured = Measured::default();
    let own = match std::env::current_exe() {
        Ok(own) => own,
        Err(why) => {
            eprintln!("failed to find this program, to start it again: {why}");
            return measured;
        }
    };
    for (_, name) in Child::ALL {
        let quick = quick.then_some("--quick");
        let args: Vec<&str> = ["--child", name].into_iter().chain(quick).collect();
        measured.take(&own, &args);
    }
    // A program of its own, because its allocator counts, which would cost the peers.
    let memory = own.with_file_name(format!("zibrato-peers-memory{}", std::env::consts::EXE_SUFFIX));
    measured.take(&memory, &[]);
    measured
}

fn tell(name: &str, value: f64) {
    println!("{name} {value}");
}
