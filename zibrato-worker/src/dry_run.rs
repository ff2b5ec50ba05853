//! `--dry-run`: everything as it would be, but printed.

use std::io::Write;
use std::path::Path;

use crate::backend::{Accepted, Backend, BackendError, Temporality};
use crate::batch::{Batch, Series};
use crate::error::Error;

/// A backend that prints what another one would send.
pub(crate) struct DryRun<B>(pub(crate) B);

impl<B: Backend> Backend for DryRun<B> {
    const NAME: &'static str = B::NAME;

    fn series(&self, series: &mut Series) -> Result<(), String> {
        self.0.series(series)
    }

    fn temporality(&self) -> Temporality {
        self.0.temporality()
    }

    fn restore(&mut self, totals: Batch) {
        self.0.restore(totals);
    }

    fn resolution(&self) -> std::time::Duration {
        self.0.resolution()
    }

    fn batch_size(&self) -> usize {
        self.0.batch_size()
    }

    async fn send(&mut self, batch: &Batch) -> Result<Accepted, BackendError> {
        let text = self.0.render(batch);
        let mut out = std::io::stdout().lock();
        let line_end = if text.ends_with('\n') { "" } else { "\n" };
        write!(out, "{text}{line_end}").and_then(|()| out.flush()).map_err(|why| BackendError::Refused {
            why: format!("standard output cannot be written: {why}"),
        })?;
        Ok(Accepted::All)
    }

    fn render(&self, batch: &Batch) -> String {
        self.0.render(batch)
    }
}

/// A copy of a state directory, if there is one, to be used and thrown away.
pub(crate) fn copy(directory: &Path) -> Result<tempfile::TempDir, Error> {
    let copy = tempfile::tempdir().map_err(Error::file("make a directory in", &std::env::temp_dir()))?;
    for name in ["state.db", "state.db-wal"] {
        let from = directory.join(name);
        if from.exists() {
            std::fs::copy(&from, copy.path().join(name)).map_err(Error::file("copy", &from))?;
        }
    }
    Ok(copy)
}
