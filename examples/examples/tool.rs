//! A command-line tool that measures itself and delivers when it ends, however short it runs.
//!
//! Start a broker and watch what passes, each in a terminal of its own:
//!
//!     cargo run -p zibrato-cli -- broker
//!     cargo run -p zibrato-cli -- tail
//!
//! and then, with the files whose words are to be counted:
//!
//!     cargo run -p zibrato-examples --example tool -- Cargo.toml README.md no-such-file
//!
//! Without a broker it does its work all the same, and then says that nobody took the measurements; with a directory
//! in `ZIBRATO_SPILL` they are kept there until the next run, or until `zibrato send --spilled` delivers them.

use std::process::ExitCode;
use std::time::Duration;

use zibrato::{count, record, time_me};

#[time_me(name = "words.file", outcome)]
fn count_words(path: &str) -> std::io::Result<usize> {
    let text = std::fs::read_to_string(path)?;
    record!("words.file_size", text.len());
    Ok(text.split_whitespace().count())
}

fn run(paths: &[String]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for path in paths {
        match count_words(path) {
            Ok(words) => {
                count!("words.words", words);
                println!("{words:>8} {path}");
            }
            Err(why) => {
                count!(level = "error", "words.failures");
                eprintln!("failed to read {path}: {why}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

fn main() -> ExitCode {
    // A tool's users do not want to wait for long when there is no broker.
    let zibrato = match zibrato::builder().deadline(Duration::from_secs(1)).install() {
        Ok(guard) => guard,
        Err(why) => {
            eprintln!("failed to {why}");
            return ExitCode::FAILURE;
        }
    };
    zibrato::describe("words.file_size", "By", "Sizes of the files that were read.");
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let code = run(&paths);
    // Dropping it would do the same; `std::process::exit` would not, as it drops nothing.
    zibrato.finish();
    code
}
