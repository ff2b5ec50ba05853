//! Proof that nothing is left of measuring where it is switched off.

use std::path::{Path, PathBuf};

use crate::shell::{Failure, cargo, run, target};
use crate::steps::Done;

/// Has functions compiled bare and measured, without Zibrato's feature `enable`: the compiler's output must be the same
/// to the last letter.
pub(crate) fn nothing() -> Result<Done, Failure> {
    let dir = target().join("off");
    std::fs::create_dir_all(&dir).map_err(|why| Failure(format!("make {}: {why}", dir.display())))?;
    let bare = assembly(dir.join("bare.s"), &[])?;
    // Not by Cargo, which would name all symbols differently.
    let measured = assembly(dir.join("measured.s"), &["--cfg", "feature=\"measured\""])?;
    if !bare.contains("timed_by_outcome") {
        return Err(Failure(format!("find the functions of zibrato-off in {}", dir.display())));
    }
    match first_difference(&bare, &measured) {
        None => Ok(Done::Passed),
        Some((line, bare, measured)) => Err(Failure(format!(
            "compile measured functions to what bare ones are, with measuring switched off: {}/measured.s has in \
             line {line} `{measured}`, bare.s has `{bare}`",
            dir.display()
        ))),
    }
}

fn assembly(path: PathBuf, flags: &[&str]) -> Result<String, Failure> {
    let mut cargo = cargo(["rustc", "--quiet", "--release", "--package", "zibrato-off", "--lib", "--"]);
    cargo.args(["-C", "debuginfo=0", "-C", "codegen-units=1"]).args(flags);
    run(cargo.arg("--emit").arg(format!("asm={}", path.display())))?;
    read(&path)
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|why| {
        let advice = "touch benches/off/src/lib.rs, so that it is compiled anew";
        Failure(format!("read {}: {why}; {advice}", path.display()))
    })
}

fn first_difference<'a>(bare: &'a str, measured: &'a str) -> Option<(usize, &'a str, &'a str)> {
    let (mut bare, mut measured) = (bare.lines(), measured.lines());
    for number in 1.. {
        match (bare.next(), measured.next()) {
            (None, None) => break,
            (a, b) if a == b => {}
            (a, b) => return Some((number, a.unwrap_or_default().trim(), b.unwrap_or_default().trim())),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::first_difference;

    #[test]
    fn first_line_that_differs_is_told() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(first_difference("a\nb\n", "a\n c\nb\n"), Some((2, "b", "c")));
        assert_eq!(first_difference("a\n", "a\nb\n"), Some((2, "", "b")));
    }
}
