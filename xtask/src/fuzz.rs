//! The fuzz targets of `fuzz/`, with libFuzzer and the instrumentation of the stable compiler.

use std::path::Path;

use serde_json::Value;

use crate::setup::program;
use crate::shell::{Failure, Outcome, cargo, command, in_ci, output, root, run, target};

/// What cargo-fuzz gives the compiler too, but without a sanitizer: the decoders have no unsafe code.
const INSTRUMENTATION: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

/// Builds all targets and runs each, or only one, for so long.
pub(crate) fn all(seconds: u32, only: Option<&str>) -> Outcome {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        let why = "run the fuzz targets: they are set up for x86_64-unknown-linux-gnu";
        return if in_ci() || only.is_some() {
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

    let names: Vec<String> =
        targets()?.into_iter().filter(|name| only.is_none_or(|only| only == name)).collect();
    if names.is_empty() {
        return Err(Failure(format!("find the fuzz target {:?}", only.unwrap_or_default())));
    }
    let mut failed = Vec::new();
    for name in &names {
        let corpus = built.join("corpus").join(name);
        seed(name, &corpus)?;
        let program = built.join(triple).join("release").join(name);
        let artifacts = built.join("artifacts").join(name);
        make(&artifacts)?;
        let mut fuzzer = command(program, [&corpus]);
        fuzzer.arg(format!("-artifact_prefix={}/", artifacts.display()));
        fuzzer.arg(format!("-max_total_time={seconds}"));
        fuzzer.args([
            "-max_len=65536",
            "-rss_limit_mb=1024",
            "-timeout=10",
            "-print_final_stats=1",
            "-verbosity=0",
        ]);
        if let Err(why) = quietly(&mut fuzzer, &artifacts.join("log.txt")) {
            println!("{why}; the input that did it is under {}", artifacts.display());
            failed.push(name.as_str());
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure(format!("fuzz {}", failed.join(", ")))) }
}

/// Runs a fuzzer, which is talkative: into a file, of which the end is shown.
fn quietly(fuzzer: &mut std::process::Command, log: &Path) -> Outcome {
    let file =
        std::fs::File::create(log).map_err(|why| Failure(format!("write {}: {why}", log.display())))?;
    let result = run(fuzzer.stderr(file));
    let text = String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let (shown, from) = match result {
        Ok(()) => ("stat::number_of_executed_units", 0),
        Err(_) => ("", lines.len().saturating_sub(60)),
    };
    lines[from..].iter().filter(|line| line.starts_with(shown)).for_each(|line| println!("{line}"));
    result
}

/// The programs of the fuzz workspace.
fn targets() -> Result<Vec<String>, Failure> {
    let manifest = ["metadata", "--format-version", "1", "--no-deps", "--manifest-path", "fuzz/Cargo.toml"];
    let metadata = parse(&output(&mut cargo(manifest))?, "cargo metadata")?;
    let targets = metadata["packages"][0]["targets"].as_array().cloned().unwrap_or_default();
    Ok(targets.iter().filter_map(|t| t["name"].as_str().map(String::from)).collect())
}

/// Puts what the test vectors have for a target into its corpus.
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
