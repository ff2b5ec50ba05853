//! The program `zibrato-otlp`.

use std::process::ExitCode;

fn main() -> ExitCode {
    zibrato_worker::main_of::<zibrato_otlp::Options>()
}
