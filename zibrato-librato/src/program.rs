//! The worker's part of a program.

use zibrato_worker::{BackendOptions, OpenError};

use crate::{Librato, Options};

impl BackendOptions for Options {
    type Backend = Librato;
    const ABOUT: &'static str = "Flush to Librato-compatible services";
    const EXAMPLES: &'static str = "\
--username me@example.org --token-file ~/.librato
--url https://metrics.example.org --api measurements --flush 60
--dry-run           print what would be sent";

    fn open(self, worker: &zibrato_worker::Options) -> Result<Librato, OpenError> {
        let backend = Librato::new(self, worker.flush)?;
        if !worker.dry_run {
            backend.check_credentials()?;
        }
        Ok(backend)
    }
}
