//! `zibrato demo`: see it work, all in one process.
//!
//! The parts are the real ones: the service measures with the library, which sends over ZeroMQ to a broker, and the
//! view is a subscriber like any worker.

mod compare;
mod service;
mod tally;
mod text;
mod view;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, timeout};
use zibrato_broker::{Broker, Config};
use zibrato_core::level::Levels;

use crate::broker_option::seconds;
use crate::failure::{FAILED, Failure};
use crate::listener::{Heard, Listener};
use crate::output::{self, Output};
use service::Service;
use view::View;

/// How often the service's totals are sent; shorter than the default, so that the view moves.
const SEND: Duration = Duration::from_millis(250);
/// How often the view on a terminal is drawn.
const DRAW: Duration = Duration::from_millis(500);
/// How long the broker and the last totals are waited for at most.
const PATIENCE: Duration = Duration::from_secs(10);

const AFTER_HELP: &str = "\
Examples:
  zibrato demo                        until Ctrl-C
  zibrato demo --seconds 10
  zibrato demo --seconds 5 --json | jq .exact

It needs nothing but free ports on this machine, and leaves nothing behind.

Exit status: 0 when what arrived is exactly what the service did, 1 when it is not or something failed.";

/// The options of `zibrato demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Options {
    /// End after so many seconds [default: at Ctrl-C]
    #[arg(long, env = "ZIBRATO_DEMO_SECONDS", value_name = "SECONDS", value_parser = seconds)]
    seconds: Option<Duration>,

    /// Print nothing but the final comparison, as a JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn main(options: &Options) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|why| Failure::To(format!("start the runtime: {why}")))?;
    let result = runtime.block_on(demo(options));
    // Whatever is left of a demo that failed half-way.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn demo(options: &Options) -> Result<ExitCode, Failure> {
    let signals = |why| Failure::To(format!("handle signals: {why}"));
    let mut stopped = std::pin::pin!(zibrato_worker::stop_signal().map_err(signals)?);

    let config = Config { port: 0, head_start: Duration::ZERO, ..Config::default() };
    let broker = Broker::bind(config).await.map_err(|why| Failure::To(why.to_string()))?;
    let address = zibrato_transport::Broker::new("127.0.0.1", broker.addresses().port);
    let (stop_broker, broker_stops) = oneshot::channel::<()>();
    let broker = tokio::spawn(broker.run(async { drop(broker_stops.await) }));

    let mut listener = Listener::start(std::slice::from_ref(&address), own_levels());
    let heard = async { while !matches!(listener.hear().await, Heard::Back(_)) {} };
    timeout(PATIENCE, heard)
        .await
        .map_err(|_| Failure::To(format!("hear the demo's own broker at {address}")))?;

    let publisher = zibrato::builder().without_environment().broker(address.to_string());
    let publisher = publisher.source("demo").interval(SEND).deadline(PATIENCE).install();
    let publisher = publisher.map_err(|why| Failure::To(why.to_string()))?;
    let service = Service::start().map_err(|why| Failure::To(format!("start the sample service: {why}")))?;

    let started = Instant::now();
    let mut output = Output::new();
    let mut view = View::new(listener, &address);
    let over = async {
        match options.seconds {
            Some(seconds) => tokio::time::sleep(seconds).await,
            None => std::future::pending().await,
        }
    };
    let mut over = std::pin::pin!(over);
    let mut closed = std::pin::pin!(output::closed());
    let mut draw = interval(DRAW);
    draw.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = view.hear() => {}
            _ = draw.tick() => {
                view.update();
                if !options.json && let Some(text) = view.draw() {
                    output.write(&text)?;
                }
            }
            () = &mut closed => return Err(Failure::OutputClosed),
            () = &mut stopped => break,
            () = &mut over => break,
        }
    }

    service.stop().await;
    let ran = started.elapsed();
    // It waits for the broker's acknowledgement, and the broker is served by this runtime.
    let delivered = tokio::task::spawn_blocking(move || publisher.finish()).await.unwrap_or(false);
    let arrived = async {
        while !compare::is_exact(view.totals()) {
            // A beat comes twice a second, should nothing else come any more.
            let _ = timeout(Duration::from_millis(100), view.hear()).await;
            view.update();
        }
    };
    let _ = timeout(PATIENCE, arrived).await;
    let comparison = compare::Comparison::of(view.totals());
    if options.json {
        output.line(&comparison.json(ran))?;
    } else {
        // On a terminal the view stays above the comparison, and is to show the same.
        if output::terminal_size().is_some()
            && let Some(text) = view.draw()
        {
            output.write(&text)?;
        }
        output.write(&comparison.text(ran, output::terminal_size().map(|(columns, _)| columns)))?;
    }
    let _ = stop_broker.send(());
    let _ = timeout(PATIENCE, broker).await;
    Ok(if delivered && comparison.exact() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// Everything but what Zibrato measures of itself.
fn own_levels() -> Levels {
    format!("*,!{}", zibrato_core::level::OWN).parse().unwrap_or_default()
}
