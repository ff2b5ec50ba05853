//! The backends: one line each, from which their subcommands follow.

use std::process::ExitCode;

use zibrato_worker::{Arguments, Backend as _, BackendOptions, examples};

use crate::failure::Failure;
use crate::state::{Directories, RESHARD_HELP, reshard};
use crate::workers::kind::{Kind, Of};

macro_rules! backends {
    ($($name:ident: $options:ty,)*) => {
        /// The worker of each backend.
        #[derive(Debug, clap::Subcommand)]
        pub(crate) enum Worker {
            $(
                #[command(
                    about = <$options>::ABOUT,
                    after_help = examples(&subcommand::<$options>(), <$options>::EXAMPLES),
                )]
                $name(Box<Arguments<$options>>),
            )*
        }

        impl Worker {
            pub(crate) fn main(self) -> ExitCode {
                match self {
                    $(Worker::$name(arguments) => arguments.main(),)*
                }
            }
        }

        /// All of them, for the sections of configuration files.
        pub(crate) const KINDS: &[&dyn Kind] = &[$(&Of::<$options>::NEW,)*];

        /// Moving the state of each backend's workers.
        #[derive(Debug, clap::Subcommand)]
        pub(crate) enum Reshard {
            $(
                #[command(
                    about = <$options>::ABOUT,
                    after_help = RESHARD_HELP,
                )]
                $name(Box<ReshardArguments<$options>>),
            )*
        }

        impl Reshard {
            pub(crate) fn main(self) -> Result<ExitCode, Failure> {
                match self {
                    $(Reshard::$name(arguments) => arguments.main(),)*
                }
            }
        }
    };
}

backends! {
    Graphite: zibrato_graphite::Options,
    Influx: zibrato_influx::Options,
    Json: zibrato_json::Options,
    Librato: zibrato_librato::Options,
    Mtrace: zibrato_mtrace::Options,
    Otlp: zibrato_otlp::Options,
    Prometheus: zibrato_prometheus::scrape::Options,
    RemoteWrite: zibrato_prometheus::remote_write::Options,
    Statsd: zibrato_statsd::Options,
}

/// The command line of `zibrato state reshard`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct ReshardArguments<O: BackendOptions> {
    #[command(flatten)]
    directories: Directories,
    #[command(flatten)]
    backend: O,
}

impl<O: BackendOptions> ReshardArguments<O> {
    fn main(self) -> Result<ExitCode, Failure> {
        // Only how it names series matters here, so no secrets are asked for.
        let mut worker = zibrato_worker::Options::default();
        worker.dry_run = true;
        let backend = self.backend.open(&worker).map_err(|why| Failure::To(why.to_string()))?;
        reshard(&self.directories, &backend)
    }
}

fn subcommand<O: BackendOptions>() -> String {
    format!("zibrato {}", O::Backend::NAME)
}
