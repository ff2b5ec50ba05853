//! What a section of the configuration file needs of a backend, whichever it is.

use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use clap::{Args as _, FromArgMatches as _};
use zibrato_worker::{
    Admin, Arguments, Backend, BackendOptions, Error, OpenError, Options, Preview, Series, Tap, preview,
    run_tapped,
};

/// A backend that a section can name.
pub(crate) trait Kind: Sync {
    /// As the backend calls itself.
    fn name(&self) -> &'static str;

    /// The command line of its worker.
    fn command(&self) -> clap::Command;

    /// Reads the command line of a section, which begins with the section's name. For the options of these names the
    /// environment does not count.
    fn parse(&self, arguments: &[String], unheard: &[String]) -> Result<Box<dyn Configured>, clap::Error>;
}

/// A worker that ends with its state directory in order.
pub(crate) type Running = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// When a worker is to end.
pub(crate) type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A worker with its options.
pub(crate) trait Configured: Send {
    /// What every worker can be told.
    fn options(&mut self) -> &mut Options;

    /// Makes the backend and starts the worker.
    fn run(self: Box<Self>, tap: Tap, admin: Arc<Admin>, stop: Stop) -> Result<Running, OpenError>;

    /// Whether the backend can be made: whether its secrets can be read, and so on.
    fn check(self: Box<Self>) -> Result<(), OpenError>;

    /// What would become of a measurement, without secrets.
    fn preview(
        self: Box<Self>,
        level: &str,
        series: Series,
        value: f64,
        now: u64,
    ) -> Result<Preview, OpenError>;
}

/// The backend that is made of `O`.
pub(crate) struct Of<O>(PhantomData<fn() -> O>);

impl<O> Of<O> {
    pub(crate) const NEW: Of<O> = Of(PhantomData);
}

impl<O: BackendOptions> Kind for Of<O> {
    fn name(&self) -> &'static str {
        O::Backend::NAME
    }

    fn command(&self) -> clap::Command {
        Arguments::<O>::augment_args(clap::Command::new(self.name()))
    }

    fn parse(&self, arguments: &[String], unheard: &[String]) -> Result<Box<dyn Configured>, clap::Error> {
        let is_unheard = |option: &clap::Arg| {
            option.get_long().is_some_and(|long| unheard.iter().any(|name| name == long))
        };
        let command = self
            .command()
            .mut_args(|option| if is_unheard(&option) { option.env(None::<&'static str>) } else { option });
        let matches = command.try_get_matches_from(arguments)?;
        Ok(Box::new(Arguments::<O>::from_arg_matches(&matches)?))
    }
}

impl<O: BackendOptions> Configured for Arguments<O> {
    fn options(&mut self) -> &mut Options {
        &mut self.worker
    }

    fn run(self: Box<Self>, tap: Tap, admin: Arc<Admin>, stop: Stop) -> Result<Running, OpenError> {
        let Arguments { worker, backend } = *self;
        let backend = backend.open(&worker)?;
        Ok(Box::pin(async move { run_tapped(worker, backend, tap, &admin, stop).await }))
    }

    fn check(self: Box<Self>) -> Result<(), OpenError> {
        self.backend.check(&self.worker)
    }

    fn preview(
        mut self: Box<Self>,
        level: &str,
        series: Series,
        value: f64,
        now: u64,
    ) -> Result<Preview, OpenError> {
        self.worker.dry_run = true;
        let backend = self.backend.open(&self.worker)?;
        Ok(preview(&self.worker, &backend, level, series, value, now)?)
    }
}
