//! A worker with a backend of its own, which prints a line for each measurement.
//!
//!     cargo run -p zibrato-cli -- broker
//!     cargo run -p zibrato-examples --example custom_backend -- --flush 2 --state /tmp/lines
//!     cargo run -p zibrato-examples --example threads

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use zibrato_worker::{Accepted, Backend, BackendError, Batch, Measurement, Options, Value};

struct Lines;

impl Backend for Lines {
    const NAME: &'static str = "lines";

    async fn send(&mut self, batch: &Batch) -> Result<Accepted, BackendError> {
        // What cannot be written now is tried again later; nothing is lost, and nothing counted twice.
        let retry = |why: std::io::Error| BackendError::Retry { why: why.to_string(), after: None };
        let mut stdout = std::io::stdout();
        stdout.write_all(self.render(batch).as_bytes()).and_then(|()| stdout.flush()).map_err(retry)?;
        Ok(Accepted::All)
    }

    fn render(&self, batch: &Batch) -> String {
        batch.measurements.iter().map(|measurement| line(batch.time / 1_000_000_000, measurement)).collect()
    }
}

fn line(time: u64, measurement: &Measurement) -> String {
    let Measurement { series, level, value, .. } = measurement;
    let figures = match (value, measurement.statistics()) {
        (Value::Counter(total) | Value::Updown(total), _) => total.to_string(),
        (Value::Gauge(gauge), _) => gauge.last.to_string(),
        (Value::Point { value, .. }, _) => value.to_string(),
        (_, Some(s)) => format!("{} x {}, {} to {}", s.count, s.mean(), s.min, s.max),
        (_, None) => String::new(),
    };
    let tags: String = series.tags.iter().map(|(name, value)| format!(" {name}={value}")).collect();
    format!("{time} {level} {} {}@{}{tags}: {figures}\n", series.kind, series.name, series.source)
}

/// Prints a line for each measurement.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    zibrato_worker::main_with(Arguments::parse().options, Lines)
}
