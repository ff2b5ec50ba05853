//! The program `zibrato-remote-write`.

use std::process::ExitCode;

fn main() -> ExitCode {
    zibrato_worker::main_of::<zibrato_prometheus::remote_write::Options>()
}
