//! Why a command ends early, and with which exit status.

use std::io;
use std::process::ExitCode;

/// Done, but not well.
pub(crate) const FAILED: u8 = 1;
/// The command line or its twin in the environment is wrong; clap uses the same.
pub(crate) const USAGE: u8 = 2;

/// Why a command ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An option or an argument cannot be used; the text says what is wrong and what to do.
    Usage(String),
    /// Something failed; the text fits after "failed to".
    To(String),
    /// Nobody reads the output any more, which is no failure: `zibrato tail | head -1`.
    OutputClosed,
}

impl Failure {
    /// Says it on stderr.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Failure::Usage(why) => {
                complain(&why);
                ExitCode::from(USAGE)
            }
            Failure::To(why) => {
                complain(&format!("failed to {why}"));
                ExitCode::from(FAILED)
            }
            Failure::OutputClosed => ExitCode::SUCCESS,
        }
    }

    /// A failure to write to stdout.
    pub(crate) fn of_output(error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::To(format!("write the output: {error}")),
        }
    }
}

/// Says something on stderr, in the words of `zibrato: …`; a stderr that is closed is nobody's loss.
pub(crate) fn complain(text: &str) {
    use io::Write;
    let _ = writeln!(io::stderr(), "zibrato: {text}");
}
