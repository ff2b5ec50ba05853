//! The program `zibrato-prometheus`.

use std::process::ExitCode;

fn main() -> ExitCode {
    zibrato_worker::main_of::<zibrato_prometheus::scrape::Options>()
}
