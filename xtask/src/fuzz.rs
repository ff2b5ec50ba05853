//! The fuzz targets of `fuzz/`, with libFuzzer and the instrumentation of the stable compiler.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::document;
use crate::setup::program;
use crate::shell::{Failure, Outcome, cargo, command, in_ci, output, read, root, run, target, write};

/// What cargo-fuzz gives the compiler too, but without a sanitizer: the decoders have no unsafe code.
const INSTRUMENTATION: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

/// How libFuzzer exits when it is interrupted.
const INTERRUPTED: i32 = 72;

/// What to do with the targets.
pub(crate) struct Plan {
    /// How long for each target: of CPU time for the report, else of any.
    pub(crate) seconds: u32,
    /// Only this one.
    pub(crate) target: Option<String>,
    /// How many at once.
    pub(crate) jobs: usize,
    /// Whether to write the table to docs/trust.md.
    pub(crate) report: bool,
    /// Whether to write what was found into the corpora of the repository.
    pub(crate) keep: bool,
    /// Whether to leave out what an interrupted report has done.
    pub(crate) resume: bool,
}

/// What a target has come to.
struct Ran {
    name: String,
    runs: u64,
    seconds: f64,
    /// Seconds of CPU time.
    busy: f64,
    /// Edges of the program that were reached.
    edges: u64,
    /// Inputs of the corpus, and their bytes.
    corpus: (u64, u64),
    failed: bool,
}

/// A fuzzer at work.
struct Running {
    name: String,
    child: Child,
    begun: Instant,
    /// Seconds of CPU time so far.
    busy: f64,
    artifacts: PathBuf,
    corpus: PathBuf,
}

/// Builds all targets and runs them.
pub(crate) fn all(plan: &Plan) -> Outcome {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        let why = "run the fuzz targets: they are set up for x86_64-unknown-linux-gnu";
        return if in_ci() || plan.target.is_some() {
            Err(Failure(why.into()))
        } else {
            println!("cannot {why}");
            Ok(())
        };
    }
    program("g++", "g++")?; // libFuzzer is C++
    let built = target().join("fuzz");
    let triple = "x86_64-unknown-linux-gnu"; // named, so that build scripts are not instrumented
    let mut build = cargo(["build", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", triple]);
    run(build.arg("--target-dir").arg(&built).env("RUSTFLAGS", INSTRUMENTATION))?;

    let programs = built.join(triple).join("release");
    let wanted = |name: &String| plan.target.as_ref().is_none_or(|only| only == name);
    let mut names: VecDeque<String> = targets()?.into_iter().filter(wanted).collect();
    if names.is_empty() {
        let name = plan.target.as_deref().unwrap_or_default();
        return Err(Failure(format!("find the fuzz target {name:?}")));
    }
    let rows = Rows(built.join("report"));
    if plan.resume {
        names.retain(|name| !rows.has(name));
    } else if plan.report {
        names.iter().for_each(|name| rows.remove(name));
    }
    let mut running: Vec<Running> = Vec::new();
    let mut ran: Vec<Ran> = Vec::new();
    while !names.is_empty() || !running.is_empty() {
        while running.len() < plan.jobs.max(1)
            && let Some(name) = names.pop_front()
        {
            running.push(start(name, &built, &programs, plan)?);
        }
        std::thread::sleep(Duration::from_millis(50));
        for mut one in std::mem::take(&mut running) {
            match one.child.try_wait() {
                Ok(None) => {
                    one.busy = cpu_seconds(one.child.id()).unwrap_or(one.busy);
                    if plan.report && one.busy >= f64::from(plan.seconds) {
                        // It tells what it has come to, and exits.
                        run(&mut command("kill", ["-INT", &one.child.id().to_string()]))?;
                        let status = one.child.wait().map_err(|why| lost(&one.name, &why))?;
                        let one = ended(one, status.code() == Some(INTERRUPTED));
                        if !one.failed {
                            rows.add(&one)?;
                        }
                        ran.push(one);
                    } else {
                        running.push(one);
                    }
                }
                Ok(Some(status)) => ran.push(ended(one, status.success())),
                Err(why) => return Err(lost(&one.name, &why)),
            }
        }
    }
    ran.sort_by(|a, b| a.name.cmp(&b.name));
    let failed: Vec<&str> = ran.iter().filter(|ran| ran.failed).map(|ran| &*ran.name).collect();
    if !failed.is_empty() {
        return Err(Failure(format!("fuzz {}", failed.join(", "))));
    }
    println!("\n{HEAD}{}", ran.iter().map(row).collect::<String>());
    if plan.keep {
        ran.iter().try_for_each(|ran| keep(&ran.name, &programs.join(&ran.name), &built))?;
    }
    if plan.report {
        let what = format!("Each target for {} s or more of CPU time; {FINE}\n\n", plan.seconds);
        let table = what + HEAD + &rows.all(&targets()?)?;
        document::replace(&root().join("docs/trust.md"), "fuzz", &table)?;
    }
    Ok(())
}

const FINE: &str = "no crash, no input that took a minute or more than 1 GiB.";
const HEAD: &str =
    "| target | CPU time, s | runs | runs/s | edges reached | corpus |\n|---|---|---|---|---|---|\n";

/// A folder with the rows of a report, which takes longer than one may want to wait.
struct Rows(PathBuf);

impl Rows {
    fn has(&self, target: &str) -> bool {
        self.0.join(target).exists()
    }

    fn remove(&self, target: &str) {
        // It may not be there.
        let _ = std::fs::remove_file(self.0.join(target));
    }

    fn add(&self, ran: &Ran) -> Outcome {
        make(&self.0)?;
        write(&self.0.join(&ran.name), &row(ran))
    }

    /// Those of these targets, by their names.
    fn all(&self, targets: &[String]) -> Result<String, Failure> {
        let mut targets: Vec<&String> = targets.iter().filter(|target| self.has(target)).collect();
        targets.sort();
        targets.into_iter().map(|target| read(&self.0.join(target))).collect()
    }
}

fn lost(name: &str, why: &std::io::Error) -> Failure {
    Failure(format!("wait for the fuzz target {name}: {why}"))
}

/// What a process has used of the processor, as proc(5) tells it in ticks, of which Linux has 100 a second.
fn cpu_seconds(process: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let ticks = after_name.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<f64>().ok());
    Some(ticks.sum::<Option<f64>>()? / 100.0)
}

fn start(name: String, built: &Path, programs: &Path, plan: &Plan) -> Result<Running, Failure> {
    let corpus = built.join("corpus").join(&name);
    seed(&name, &corpus)?;
    let artifacts = built.join("artifacts").join(&name);
    make(&artifacts)?;
    let mut fuzzer = command(programs.join(&name), [&corpus]);
    fuzzer.arg(format!("-artifact_prefix={}/", artifacts.display()));
    // On a busy machine CPU time takes longer to come by.
    let seconds = if plan.report { plan.seconds.saturating_mul(20) } else { plan.seconds };
    fuzzer.arg(format!("-max_total_time={seconds}"));
    let dictionary = root().join("fuzz/dictionaries").join(&name);
    if dictionary.exists() {
        fuzzer.arg(format!("-dict={}", dictionary.display()));
    }
    fuzzer.args([
        "-max_len=65536",
        "-rss_limit_mb=1024",
        "-timeout=60",
        "-print_final_stats=1",
        "-interrupted_exitcode=0",
    ]);
    // It is talkative, so that goes into a file, of which the end is shown where it fails.
    let log = artifacts.join("log.txt");
    let file = File::create(&log).map_err(|why| Failure(format!("write {}: {why}", log.display())))?;
    let child = fuzzer.stdout(Stdio::null()).stderr(file).spawn();
    let child = child.map_err(|why| Failure(format!("start the fuzz target {name}: {why}")))?;
    println!("{name} runs");
    Ok(Running { name, child, begun: Instant::now(), busy: 0.0, artifacts, corpus })
}

fn ended(running: Running, succeeded: bool) -> Ran {
    let Running { name, begun, busy, artifacts, corpus, .. } = running;
    let log = std::fs::read(artifacts.join("log.txt")).unwrap_or_default();
    let text = String::from_utf8_lossy(&log);
    if !succeeded {
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].iter().for_each(|line| println!("{line}"));
        println!("{name} failed; the input that did it is under {}", artifacts.display());
    }
    let number = |line: &str, after: &str| -> Option<u64> {
        let (_, rest) = line.split_once(after)?;
        rest.split_whitespace().next()?.parse().ok()
    };
    let last = |after: &str| text.lines().rev().find_map(|line| number(line, after)).unwrap_or(0);
    let inputs = std::fs::read_dir(&corpus).into_iter().flatten().flatten();
    let sizes: Vec<u64> = inputs.filter_map(|input| Some(input.metadata().ok()?.len())).collect();
    Ran {
        runs: last("stat::number_of_executed_units:"),
        edges: last(" cov: "),
        seconds: begun.elapsed().as_secs_f64(),
        busy,
        corpus: (sizes.len() as u64, sizes.iter().sum()),
        failed: !succeeded,
        name,
    }
}

fn row(Ran { name, runs, seconds, busy, edges, corpus, .. }: &Ran) -> String {
    let rate = *runs as f64 / if *busy > 1.0 { *busy } else { seconds.max(0.001) };
    let (inputs, kib) = (corpus.0, corpus.1.div_ceil(1024));
    format!("| `{name}` | {busy:.0} | {runs} | {rate:.0} | {edges} | {inputs} inputs, {kib} KiB |\n")
}

/// Writes the shortest inputs that reach most into the corpus of the repository.
fn keep(name: &str, fuzzer: &Path, built: &Path) -> Outcome {
    let merged = built.join("merged").join(name);
    // What an earlier merge has left would count as reached.
    let _ = std::fs::remove_dir_all(&merged);
    make(&merged)?;
    let mut merge = command(fuzzer, ["-merge=1", "-max_len=300"]);
    let (found, merging) = (built.join("corpus").join(name), merged.clone());
    run(merge.arg(merging).arg(found).stderr(Stdio::null()))?;
    let mut inputs: Vec<Vec<u8>> = Vec::new();
    for entry in std::fs::read_dir(&merged).into_iter().flatten().flatten() {
        inputs.extend(std::fs::read(entry.path()).ok());
    }
    inputs.sort_by_key(|input| (input.len(), input.clone()));
    let mut text = String::new();
    for line in inputs.iter().map(|input| input.escape_ascii().to_string() + "\n") {
        if text.len() + line.len() <= KEPT {
            text += &line;
        }
    }
    write(&root().join("fuzz/corpus").join(name), &text)
}

/// Most bytes of a corpus in the repository.
const KEPT: usize = 12 << 10;

/// The inputs of a corpus in the repository: one in each line, escaped as [`u8::escape_ascii`] does.
fn kept(text: &str) -> Vec<Vec<u8>> {
    text.lines().map(unescaped).collect()
}

fn unescaped(line: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = line.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        let [code, tail @ ..] = rest else { break };
        rest = tail;
        out.push(match code {
            b't' => b'\t',
            b'r' => b'\r',
            b'n' => b'\n',
            b'x' => {
                let hex = rest.get(..2).and_then(|two| std::str::from_utf8(two).ok());
                rest = rest.get(2..).unwrap_or_default();
                hex.and_then(|two| u8::from_str_radix(two, 16).ok()).unwrap_or(0)
            }
            other => *other,
        });
    }
    out
}

/// The programs of the fuzz workspace.
fn targets() -> Result<Vec<String>, Failure> {
    let manifest = ["metadata", "--format-version", "1", "--no-deps", "--manifest-path", "fuzz/Cargo.toml"];
    let metadata = parse(&output(&mut cargo(manifest))?, "cargo metadata")?;
    let targets = metadata["packages"][0]["targets"].as_array().cloned().unwrap_or_default();
    Ok(targets.iter().filter_map(|t| t["name"].as_str().map(String::from)).collect())
}

/// Puts what the test vectors and the repository have for a target into its corpus.
fn seed(name: &str, corpus: &Path) -> Outcome {
    make(corpus)?;
    let path = root().join("docs/wire-vectors.json");
    let text =
        std::fs::read_to_string(&path).map_err(|why| Failure(format!("read {}: {why}", path.display())))?;
    let vectors = parse(&text, "docs/wire-vectors.json")?;
    for (number, seed) in seeds(name, &vectors).iter().enumerate() {
        let path = corpus.join(format!("vector-{number:03}"));
        std::fs::write(&path, seed).map_err(|why| Failure(format!("write {}: {why}", path.display())))?;
    }
    let text = std::fs::read_to_string(root().join("fuzz/corpus").join(name)).unwrap_or_default();
    for (number, input) in kept(&text).iter().enumerate() {
        let path = corpus.join(format!("kept-{number:03}"));
        std::fs::write(&path, input).map_err(|why| Failure(format!("write {}: {why}", path.display())))?;
    }
    Ok(())
}

fn seeds(name: &str, vectors: &Value) -> Vec<Vec<u8>> {
    let all = |section: &str| vectors[section].as_array().cloned().unwrap_or_default();
    match name {
        "frame" => {
            let frames = all("frames").into_iter().chain(all("refused_frames"));
            frames.filter_map(|v| v["hex"].as_str().map(unhex)).collect()
        }
        "ask" => {
            let asks = all("asks").into_iter().chain(all("refused_asks"));
            let parts = asks.map(|v| v["parts"].as_array().cloned().unwrap_or_default());
            parts.map(|parts| joined(parts.iter().filter_map(Value::as_str))).collect()
        }
        "ledger" => {
            let frames = all("frames");
            let frames: Vec<&str> = frames.iter().filter_map(|v| v["hex"].as_str()).collect();
            let backwards = joined(frames.iter().rev().copied());
            let pairs = frames.windows(2).map(|pair| joined(pair.iter().copied()));
            pairs.chain([joined(frames.iter().copied()), backwards]).collect()
        }
        "spilled" => {
            let frames = all("frames").into_iter().filter_map(|v| v["hex"].as_str().map(unhex));
            let record = |frame: Vec<u8>| {
                let parts = [b"info|".as_slice(), &frame];
                parts.iter().flat_map(|part| [&(part.len() as u32).to_be_bytes(), *part].concat()).collect()
            };
            let records: Vec<Vec<u8>> = frames.map(record).collect();
            let whole = [b"zibrato spilled totals 2\n0f-3a 12345\n".to_vec(), records.concat()].concat();
            [vec![whole, records.concat()], records].concat()
        }
        "levels" => {
            let texts =
                ["*", "info, error", "*,!debug", "info|", "!a,!b", " , "].map(|t| t.as_bytes().to_vec());
            let names =
                all("names").into_iter().filter_map(|v| v["text"].as_str().map(|t| t.as_bytes().to_vec()));
            texts.into_iter().chain(names).collect()
        }
        "legacy" => {
            let lines = [
                "info|Counter|calls|5|1767323045|my-prog",
                "debug|timer|myfunct_timer|0.0123|1767323045.25|myprog",
                "error|GAUGES|size|-1.5e3|1767323045|prog\ninfo|counters|calls|0.5|1767323046|my-prog",
            ];
            lines.map(|line| line.as_bytes().to_vec()).into()
        }
        "mtrace" => {
            let lines = [
                r#"{"time":"2026-01-02T03:04:05.5Z","hop":"backend","verdict":"refused","metric":"requests","kind":"counter","value":-1.5e-3,"source":"web1","tags":{"a":"b"},"level":"info","instance":"30313233343536373839616263646566","sequence":7,"trace":3,"by":"web1","why":"x"}"#,
                "2017-06-14 16:42:52,858 INFO zen.MetricWriter: mtrace: publishing metric a/b -1 1497458572 {'k': 'v', u'x': \"it's\"}",
                r#"time="2017-06-01T03:29:45Z" level=info msg="metric read from redis" elapsed=1 metric="a/b" mtrace=1 tags=map[k:v w:x y] timestamp=1 value=0 "#,
                r#"INFO  [2017-06-01 03:29:45,189] a.B: mtrace=1 elapsed=1 message="Publishing metric" metric=[Metric{metric='a', timestamp=1, value=0.0, tags={k=v, l=w}}]"#,
            ];
            lines.map(|line| line.as_bytes().to_vec()).into()
        }
        _ => Vec::new(),
    }
}

/// Pieces one after the other, each after its length in two bytes.
fn joined<'a>(pieces: impl Iterator<Item = &'a str>) -> Vec<u8> {
    pieces.map(unhex).fold(Vec::new(), |mut bytes, piece| {
        bytes.extend((piece.len() as u16).to_be_bytes());
        bytes.extend(piece);
        bytes
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |i: usize| text.get(i..i + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..text.len()).step_by(2).filter_map(digit).collect()
}

fn parse(text: &str, what: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|why| Failure(format!("understand {what}: {why}")))
}

fn make(folder: &Path) -> Outcome {
    std::fs::create_dir_all(folder).map_err(|why| Failure(format!("make {}: {why}", folder.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_come_back_from_their_lines() {
        let inputs: Vec<Vec<u8>> =
            vec![(0..=255).collect(), Vec::new(), b"\\x41\n'\"".to_vec(), "\u{e9}".as_bytes().to_vec()];
        let text: String = inputs.iter().map(|input| input.escape_ascii().to_string() + "\n").collect();
        assert_eq!(kept(&text), inputs);
    }
}
