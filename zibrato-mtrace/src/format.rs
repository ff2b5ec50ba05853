/// The form of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// An object of JSON with everything
    #[default]
    Json,
    /// The older forms of collector, shipper and consumer, for the tools that read these
    Text,
}
