use zibrato_core::registry;

/// What Zibrato is doing in this process, for self-checks and for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Whether a publisher is installed. If not, what is measured stays here.
    pub installed: bool,
    /// Metrics that exist, in all kinds and levels.
    pub metrics: usize,
    /// Call sites that have been passed at least once.
    pub sites: usize,
    /// Threads that have cells of their own.
    pub threads: usize,
    /// Whether the limit on metrics was reached; what came after is counted in `zibrato.overflow`.
    pub overflowed: bool,
    /// Whether a name, source or tag was met that cannot be used; it is counted in `zibrato.bad_name`.
    pub bad_names: bool,
    /// Frames that were written to a broker's connection.
    pub frames_sent: u64,
    /// Frames that were dropped because a broker did not take them; later frames carry the same totals.
    pub frames_dropped: u64,
    /// The brokers, and whether there is a connection to each.
    pub brokers: Vec<(String, bool)>,
}

/// What Zibrato is doing in this process.
///
/// ```
/// zibrato::count!("seen");
/// assert!(zibrato::status().metrics >= 1);
/// ```
pub fn status() -> Status {
    let census = registry::census();
    let status = Status {
        metrics: census.metrics,
        sites: census.sites,
        threads: census.threads,
        overflowed: census.overflowed,
        bad_names: census.bad_names,
        ..Status::default()
    };
    #[cfg(feature = "publish")]
    let status = crate::publish::fill_status(status);
    status
}
