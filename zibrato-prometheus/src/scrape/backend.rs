//! The backend: batches in, snapshots out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zibrato_admin::HttpServer;
use zibrato_worker::{
    Accepted, Backend, BackendError, BackendOptions, Batch, OpenError, Series, Temporality,
};

use super::options::Options;
use super::server;
use super::snapshot::Shelf;
use super::store::Store;
use crate::exposition::{Format, Style, render};
use crate::{Error, naming};

/// Shows what was measured to whoever scrapes it.
#[derive(Debug)]
pub struct Prometheus {
    options: Options,
    shelf: Arc<Shelf>,
    server: Option<HttpServer>,
}

impl Prometheus {
    /// A backend that listens, from now on.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn new(options: Options) -> Result<Prometheus, Error> {
        let mut prometheus = Prometheus::idle(options);
        let listen = prometheus.options.listen;
        let server = server::start(listen, Arc::clone(&prometheus.shelf));
        let server = server.map_err(|why| Error::Listen { address: listen, why: why.to_string() })?;
        tracing::info!(url = format!("http://{}/metrics", server.address()), "ready to be scraped");
        prometheus.server = Some(server);
        Ok(prometheus)
    }

    /// A backend that listens nowhere, for `--dry-run`.
    pub fn idle(options: Options) -> Prometheus {
        let store = Store::new(&options.source_label, options.stale);
        let style = Style { classic: options.classic.clone(), created: !options.no_created };
        Prometheus { options, shelf: Arc::new(Shelf::new(store, style)), server: None }
    }

    /// Where it listens, if it does.
    pub fn address(&self) -> Option<SocketAddr> {
        self.server.as_ref().map(HttpServer::address)
    }
}

impl Backend for Prometheus {
    const NAME: &'static str = "prometheus";

    fn series(&self, series: &mut Series) -> Result<(), String> {
        naming::clean(series, &self.options.source_label)
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }

    fn restore(&mut self, totals: Batch) {
        self.shelf.put(&totals, Instant::now());
    }

    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn batch_size(&self) -> usize {
        // All series come in one batch, so that a scrape has them of one moment.
        10_000_000
    }

    async fn send(&mut self, batch: &Batch) -> Result<Accepted, BackendError> {
        self.shelf.put(batch, Instant::now());
        Ok(Accepted::All)
    }

    fn render(&self, batch: &Batch) -> String {
        let mut store = Store::new(&self.options.source_label, self.options.stale);
        store.take(batch, Instant::now());
        let text = render(&store.families(), Format::OpenMetrics, &self.shelf.style);
        // The format is made of text alone.
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl BackendOptions for Options {
    type Backend = Prometheus;
    const ABOUT: &'static str = "Show measurements to Prometheus, at /metrics";
    const EXAMPLES: &'static str = "\
--listen 127.0.0.1:5590 --flush 5
--listen 0.0.0.0:5590 --stale 60     for a Prometheus on another machine
--timer-buckets 0.1,0.5,1            with these classic buckets";

    fn open(self, worker: &zibrato_worker::Options) -> Result<Prometheus, OpenError> {
        if worker.dry_run { Ok(Prometheus::idle(self)) } else { Ok(Prometheus::new(self)?) }
    }

    fn check(self, _: &zibrato_worker::Options) -> Result<(), OpenError> {
        // The port may be taken by the very worker that these options are for.
        Ok(())
    }
}
