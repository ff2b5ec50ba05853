//! The program `zibrato-librato`.

use std::process::ExitCode;

fn main() -> ExitCode {
    zibrato_worker::main_of::<zibrato_librato::Options>()
}
