//! The program `zibrato-json`.

use std::process::ExitCode;

fn main() -> ExitCode {
    zibrato_worker::main_of::<zibrato_json::Options>()
}
