//! What takes time to go wrong.

use crate::shell::{Outcome, cargo, run};

/// The clock, under threads that move from core to core.
pub(crate) fn clock(seconds: f64) -> Outcome {
    let program = ["run", "--quiet", "--release", "--package", "zibrato-soak", "--", "--seconds"];
    run(cargo(program).arg(seconds.to_string()))
}
