//! The Python client, which proves what `docs/wire.md` says.

use std::path::{Path, PathBuf};

use crate::shell::{Failure, command, read, root, run, target, works, write};
use crate::steps::Done;
use crate::{setup, suite};

/// The test vectors, and the clients against a model of a broker and against the real one.
pub(crate) fn check() -> Result<Done, Failure> {
    let python = environment()?;
    let folder = root().join("examples/python");
    run(&mut command(&python, [folder.join("check_vectors.py")]))?;
    run(&mut command(&python, [folder.join("test_clients.py")]))?;
    suite::build()?;
    let broker = target().join("debug").join(format!("zibrato-broker{}", std::env::consts::EXE_SUFFIX));
    for test in [folder.join("test_clients.py"), root().join("zibrato-broker/tests/secure.py")] {
        run(command(&python, [test]).env("ZIBRATO_BROKER_PROGRAM", &broker))?;
    }
    Ok(Done::Passed)
}

/// A virtual environment under `target` with what the client needs; gives its interpreter.
pub(crate) fn environment() -> Result<PathBuf, Failure> {
    virtual_environment(&target().join("python"), &root().join("examples/python/requirements.txt"))
}

/// A virtual environment in `folder` with what the file `wanted` lists; gives its interpreter.
pub(crate) fn virtual_environment(folder: &Path, wanted: &Path) -> Result<PathBuf, Failure> {
    let python = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let (stamp, wanted_text) = (folder.join("installed.txt"), read(wanted)?);
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted_text)
        && works(&mut command(&python, ["--version"]))
    {
        return Ok(python);
    }
    let make = || {
        let interpreter = if cfg!(windows) { "python" } else { "python3" };
        run(command(interpreter, ["-m", "venv", "--clear"]).arg(folder))
    };
    if make().is_err() {
        // Debian's own interpreter keeps `venv` in a package apart, which brings the interpreter if need be.
        setup::install("python3-venv")?;
        make()?;
    }
    run(command(&python, ["-m", "pip", "install", "--quiet", "--requirement"]).arg(wanted))?;
    write(&stamp, &wanted_text)?;
    Ok(python)
}
