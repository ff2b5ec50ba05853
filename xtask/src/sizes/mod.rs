//! What a call site adds to a program, and what the facade adds: bytes, and time to compile.
//!
//! Programs with many call sites of one kind are generated in the target directory. What a site adds is how much
//! faster they grow with their sites than programs with bare functions do.

mod generate;
mod section;
mod site;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::document;
use crate::setup::rustc_version;
use crate::shell::{Failure, Outcome, cargo, output, root, run, target};
use section::Sections;
use site::{PEER, SITES, Site};

/// Call sites of the two programs whose difference tells the size of one.
const FEW: usize = 100;
const MANY: usize = 300;
/// Call sites of the programs whose compilation is timed.
const TIMED: usize = 1000;
/// What the facade may add to a stripped program, in bytes.
const FACADE_AT_MOST: u64 = 3 << 19;

/// Prints the tables; with `update` also into the documentation. Compilations are timed `rounds` times.
pub(crate) fn sizes(rounds: usize, update: bool) -> Outcome {
    if !cfg!(target_os = "linux") {
        println!("skipped: only for Linux, whose linker's sections it knows");
        return Ok(());
    }
    let workspace = Workspace::generate()?;
    let sites = sites(&workspace, rounds)?;
    let facade = facade(&workspace)?;
    let text = format!("{sites}\n{facade}");
    println!("\n{text}");
    if update {
        document::replace(&root().join("docs/performance.md"), "sizes", &text)?;
    }
    Ok(())
}

/// The generated workspace.
struct Workspace(PathBuf);

impl Workspace {
    fn generate() -> Result<Self, Failure> {
        let dir = target().join("sizes");
        generate::workspace(&dir).map_err(|why| Failure(format!("write to {}: {why}", dir.display())))?;
        Ok(Workspace(dir))
    }

    fn cargo(&self, args: &[&str]) -> std::process::Command {
        let mut command = cargo(args);
        // Not this workspace's flags and target directory: what is measured is what users have.
        command.current_dir(&self.0).env("CARGO_TARGET_DIR", self.0.join("target")).env_remove("RUSTFLAGS");
        command
    }

    fn program(&self, name: &str) -> PathBuf {
        self.0.join("target/release").join(name)
    }

    fn sections(&self, site: &str, sites: usize) -> Result<Sections, Failure> {
        Sections::of(&self.program(&generate::program(site, sites)))
    }

    /// What one function with such a site takes.
    fn of_one(&self, site: &str) -> Result<Sections, Failure> {
        let (few, many) = (self.sections(site, FEW)?, self.sections(site, MANY)?);
        Ok(many.minus(&few).divided_by((MANY - FEW) as f64))
    }
}

fn sites(workspace: &Workspace, rounds: usize) -> Result<String, Failure> {
    run(&mut workspace.cargo(&["build", "--quiet", "--release", "--package", "sites"]))?;
    let times = compile_times(workspace, rounds)?;
    let time = |name: &str| times.iter().find(|(of, _)| *of == name).map(|(_, time)| *time);
    let per_site = |site: &Site| {
        let over_bare = time(site.name)?.as_secs_f64() - time(site.bare)?.as_secs_f64();
        Some(over_bare * 1e3 / TIMED as f64)
    };
    let peer = SITES.iter().find(|site| site.name == PEER).and_then(per_site);

    let mut table = format!(
        "Added per call site to a function (`cargo xtask sizes`, release build, rustc {}, `metrics` {}):\n\n\
         | call site | text, B | data, B | thread-local, B | unwinding, B | compiling, ms | target |\n\
         |---|---|---|---|---|---|---|\n",
        rustc_version()?,
        generate::version_of(&workspace.0, "metrics").unwrap_or_default(),
    );
    for site in SITES.iter().filter(|site| !site.is_bare()) {
        let added = workspace.of_one(site.name)?.minus(&workspace.of_one(site.bare)?);
        let compiling = per_site(site);
        let mut targets = Vec::new();
        if let Some(most) = site.text_at_most {
            targets.push(target_met(&format!("{most} B of text"), added.text.round() <= most));
        }
        if let (Some(mine), Some(peer), true) = (compiling, peer, site.is_ours()) {
            targets.push(target_met("compiling as the peer", mine <= peer));
        }
        table.push_str(&format!(
            "| {} | {:.0} | {:.0} | {:.0} | {:.0} | {} | {} |\n",
            site.title,
            added.text,
            added.data,
            added.thread_local,
            added.unwinding,
            compiling.map_or_else(String::new, |ms| format!("{ms:.1}")),
            targets.join(", "),
        ));
    }
    Ok(table)
}

fn target_met(what: &str, met: bool) -> String {
    format!("{what}: {}", if met { "met" } else { "**missed**" })
}

/// The shortest of several compilations of each program; they take turns, so that what disturbs the machine
/// disturbs all alike.
fn compile_times(workspace: &Workspace, rounds: usize) -> Result<Vec<(&'static str, Duration)>, Failure> {
    let names = SITES.iter().filter(|site| site.timed).map(|site| site.name);
    let mut times: Vec<_> = names.map(|name| (name, Duration::MAX)).collect();
    if rounds == 0 {
        return Ok(Vec::new());
    }
    run(&mut workspace.cargo(&["build", "--quiet", "--release", "--package", "times"]))?;
    for _ in 0..rounds {
        for (name, shortest) in &mut times {
            let program = generate::program(name, TIMED);
            touch(&workspace.0.join("times/src/bin").join(format!("{program}.rs")))?;
            let begin = Instant::now();
            output(&mut workspace.cargo(&[
                "build",
                "--quiet",
                "--release",
                "--package",
                "times",
                "--bin",
                &program,
            ]))?;
            *shortest = begin.elapsed().min(*shortest);
        }
    }
    Ok(times)
}

fn touch(path: &Path) -> Outcome {
    let touched = std::fs::File::options()
        .append(true)
        .open(path)
        .and_then(|file| file.set_modified(std::time::SystemTime::now()));
    touched.map_err(|why| Failure(format!("touch {}: {why}", path.display())))
}

/// What the facade adds to a program that does nothing else.
fn facade(workspace: &Workspace) -> Result<String, Failure> {
    run(&mut workspace.cargo(&["build", "--quiet", "--release", "--package", "facade"]))?;
    let size = |program: &str| {
        let path = workspace.program(program);
        let size = std::fs::metadata(&path).map(|file| file.len());
        size.map_err(|why| Failure(format!("find the size of {}: {why}", path.display())))
    };
    let (with, without) = (size("with")?, size("without")?);
    let added = with.saturating_sub(without);
    Ok(format!(
        "A stripped program that installs Zibrato has {with} bytes, without it {without}: {:.2} MiB more; {}.\n",
        added as f64 / f64::from(1 << 20),
        target_met("at most 1.5 MiB", added <= FACADE_AT_MOST),
    ))
}
