//! The program `zibrato-mtrace`.

use std::process::ExitCode;

fn main() -> ExitCode {
    zibrato_worker::main_of::<zibrato_mtrace::Options>()
}
