use clap::builder::FalseyValueParser;

/// The options of the admin port.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
#[group(skip)]
pub struct Options {
    /// Answer /healthz, /readyz, /metrics and /status over HTTP here; port 0 is any, which the log tells [default: off]
    #[arg(long, env = "ZIBRATO_ADMIN", value_name = "HOST:PORT", help_heading = HEADING)]
    pub admin: Option<String>,
    /// Let --admin be beyond loopback, where whoever reaches it reads everything, unencrypted
    #[arg(long, env = "ZIBRATO_ADMIN_INSECURE", value_parser = FalseyValueParser::new(), help_heading = HEADING)]
    pub admin_insecure: bool,
}

/// Over these options, in `--help`.
const HEADING: &str = "Admin port";
