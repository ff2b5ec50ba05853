//! The backend: batches in, lines out.

use std::time::Duration;

use zibrato_worker::{Accepted, Backend, BackendError, Batch, Series};

use crate::lines::lines;
use crate::options::Options;
use crate::{naming, send};

/// Sends to Graphite's carbon.
#[derive(Debug)]
pub struct Graphite {
    options: Options,
}

impl Graphite {
    /// A backend with these options; nothing is opened yet.
    pub fn new(options: Options) -> Graphite {
        Graphite { options }
    }

    /// The lines of all measurements that can be sent, and why the others cannot.
    fn lines(batch: &Batch) -> (String, Vec<(usize, String)>) {
        let (mut text, mut refused) = (String::new(), Vec::new());
        for (index, measurement) in batch.measurements.iter().enumerate() {
            match lines(measurement, batch) {
                Ok(own) => text += &own,
                Err(why) => refused.push((index, why)),
            }
        }
        (text, refused)
    }
}

impl Backend for Graphite {
    const NAME: &'static str = "graphite";

    fn series(&self, series: &mut Series) -> Result<(), String> {
        naming::clean(series, &self.options)
    }

    /// Carbon keeps one value of a series for each step, the last one that comes.
    fn resolution(&self) -> Duration {
        self.options.step
    }

    async fn send(&mut self, batch: &Batch) -> Result<Accepted, BackendError> {
        let (text, refused) = Self::lines(batch);
        let Options { address, timeout, .. } = &self.options;
        let later = |why: String| {
            let why = format!("failed to send to {address}: {why}");
            BackendError::Retry { why, after: None }
        };
        match tokio::time::timeout(*timeout, send::send(address, &text)).await {
            // What has arrived is stored over itself the next time.
            Err(_) => Err(later(format!("not done within {} s", timeout.as_secs_f64()))),
            Ok(Err(why)) => Err(later(why.to_string())),
            Ok(Ok(())) if refused.is_empty() => Ok(Accepted::All),
            Ok(Ok(())) => Ok(Accepted::Partly { refused, retry: Vec::new() }),
        }
    }

    fn render(&self, batch: &Batch) -> String {
        let (mut text, refused) = Self::lines(batch);
        for (index, why) in refused {
            let name = &batch.measurements[index].series.name;
            text += &format!("not sent: {name}: {why}\n");
        }
        text
    }
}
