//! The program that `cargo xtask chaos` runs.

#[cfg(target_os = "linux")]
mod program;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    program::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    eprintln!("failed to start the fleet: it is set up for Linux");
    std::process::ExitCode::FAILURE
}
