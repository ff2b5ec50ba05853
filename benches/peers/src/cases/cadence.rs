//! `cadence`: text over UDP through a buffer and a queue, and formatted for nobody.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::cadence::prelude::*;
use ::cadence::{BufferedUdpMetricSink, NopMetricSink, QueuingMetricSink, StatsdClient};

use crate::case::{Case, Group, on_handles};

pub(crate) fn cases() -> Vec<Case> {
    match clients() {
        Ok(cases) => cases,
        Err(why) => {
            eprintln!("failed to set `cadence` up: {why}");
            Vec::new()
        }
    }
}

fn clients() -> Result<Vec<Case>, ::cadence::MetricError> {
    let (counts, counted) = over_udp()?;
    let (times, timed) = over_udp()?;
    let (gauges, set) = over_udp()?;
    let (tags, tagged_ones) = over_udp()?;
    let nobody = Arc::new(StatsdClient::from_sink("bench", NopMetricSink));
    Ok(vec![
        Case::peer(Group::Counters, "`cadence`, queue and buffered UDP", count(&counts))
            .some(counted)
            .with_thread(),
        Case::peer(Group::Counters, "`cadence`, formatted and dropped", count(&nobody)),
        Case::peer(Group::Timers, "`cadence`, queue and buffered UDP, timer", time(&times))
            .some(timed)
            .with_thread(),
        Case::peer(Group::Timers, "`cadence`, formatted and dropped, timer", time(&nobody)),
        Case::peer(Group::Gauges, "`cadence`, queue and buffered UDP, gauge", gauge(&gauges))
            .some(set)
            .with_thread(),
        Case::peer(Group::Gauges, "`cadence`, formatted and dropped, gauge", gauge(&nobody)),
        Case::peer(Group::RuntimeNames, "`cadence` with a tag, queue and buffered UDP", tagged(&tags))
            .some(tagged_ones)
            .with_thread(),
    ])
}

/// A client, and how many lines the server's buffer holds. Nobody reads while it runs: what a server does costs its
/// own machine.
fn over_udp() -> Result<(Client, impl Fn() -> u64 + use<>), ::cadence::MetricError> {
    let server = UdpSocket::bind("127.0.0.1:0")?;
    server.set_read_timeout(Some(Duration::from_millis(100)))?;
    let sink = BufferedUdpMetricSink::from(server.local_addr()?, UdpSocket::bind("127.0.0.1:0")?)?;
    let client = Arc::new(StatsdClient::from_sink("bench", QueuingMetricSink::from(sink)));
    let lines = move || {
        let (mut buffer, mut lines) = ([0; 65_536], 0);
        while let Ok(n) = server.recv(&mut buffer) {
            lines += String::from_utf8_lossy(&buffer[..n]).lines().count() as u64;
        }
        lines
    };
    Ok((client, lines))
}

type Client = Arc<StatsdClient>;

fn count(client: &Client) -> impl Fn(usize, u64) + Sync + 'static {
    let client = client.clone();
    on_handles(["a", "b"], move |name, _| drop(client.count(name, 1)))
}

fn tagged(client: &Client) -> impl Fn(usize, u64) + Sync + 'static {
    let client = client.clone();
    on_handles(["a", "b"], move |name, _| drop(client.count_with_tags(name, 1).with_tag("k", "v").try_send()))
}

fn time(client: &Client) -> impl Fn(usize, u64) + Sync + 'static {
    let client = client.clone();
    on_handles(["a", "b"], move |name, _| {
        let start = Instant::now();
        drop(client.time(name, start.elapsed()));
    })
}

fn gauge(client: &Client) -> impl Fn(usize, u64) + Sync + 'static {
    let client = client.clone();
    on_handles(["a", "b"], move |name, i| drop(client.gauge(name, i as f64)))
}
