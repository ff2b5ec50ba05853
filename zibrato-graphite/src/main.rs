//! The program `zibrato-graphite`.

use std::process::ExitCode;

fn main() -> ExitCode {
    zibrato_worker::main_of::<zibrato_graphite::Options>()
}
