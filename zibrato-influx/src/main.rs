//! The program `zibrato-influx`.

use std::process::ExitCode;

fn main() -> ExitCode {
    zibrato_worker::main_of::<zibrato_influx::Options>()
}
