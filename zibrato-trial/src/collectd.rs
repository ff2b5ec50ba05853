//! collectd with its StatsD plugin, from Debian.

use std::collections::BTreeMap;

use crate::installed::installed;
use crate::ports::free_port;
use crate::server::Server;

/// collectd, listening for StatsD's datagrams and writing what it knows into files every second.
pub struct Collectd {
    /// The program.
    pub server: Server,
    /// Its UDP port.
    pub udp: u16,
}

impl Collectd {
    /// Starts it; `None` where it is not installed.
    ///
    /// # Panics
    /// As [`installed`] and [`Server::start`].
    pub fn start() -> Option<Collectd> {
        if !installed("collectd", "apt-get install collectd-core") {
            return None;
        }
        let udp = free_port();
        let setup = Server::new("collectd");
        let directory = setup.directory().display().to_string();
        let config = format!(
            r#"Hostname "here"
BaseDir "{directory}"
PIDFile "{directory}/pid"
TypesDB "/usr/share/collectd/types.db"
Interval 1
LoadPlugin logfile
<Plugin logfile>
  File "{directory}/log"
</Plugin>
LoadPlugin statsd
LoadPlugin csv
<Plugin statsd>
  Host "127.0.0.1"
  Port "{udp}"
  TimerPercentile 50
  TimerPercentile 90
  TimerCount true
  TimerSum true
</Plugin>
<Plugin csv>
  DataDir "{directory}/csv"
</Plugin>
"#
        );
        let server = setup
            .file("collectd.conf", &config)
            .args(["-f", "-C", "collectd.conf"])
            .ready(move || {
                let taken = std::net::UdpSocket::bind(("127.0.0.1", udp)).is_err();
                taken.then_some(()).ok_or_else(|| format!("port {udp} is not taken"))
            })
            .start();
        Some(Collectd { server, udp })
    }

    /// The value that was written last of each series, under its type and name, as in `derive-web1.requests`: of counters
    /// (`derive`) the total, of gauges the value.
    pub fn last_values(&self) -> BTreeMap<String, f64> {
        let folder = self.server.directory().join("csv/here/statsd");
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        files
            .filter_map(|file| {
                let name = file.file_name().into_string().ok()?;
                // The date is the name's end.
                let series = name.get(..name.len().checked_sub("-2026-11-22".len())?)?.to_owned();
                let text = std::fs::read_to_string(file.path()).ok()?;
                // The last line may be half written.
                let whole = text.rsplit_once('\n')?.0;
                Some((series, whole.lines().last()?.rsplit_once(',')?.1.parse().ok()?))
            })
            .collect()
    }
}
