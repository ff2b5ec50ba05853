//! The program `zibrato-statsd`.

use std::process::ExitCode;

fn main() -> ExitCode {
    zibrato_worker::main_of::<zibrato_statsd::Options>()
}
