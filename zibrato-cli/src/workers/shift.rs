//! The workers that run at present, and what becomes of them when the file changes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::Instrument;
use zibrato_transport::Broker;
use zibrato_worker::{Admin, Subscription};

use super::config::{Config, Section, Source};

/// How long to wait before a worker that failed is started again.
const AGAIN: Duration = Duration::from_secs(10);

/// Workers over one subscription.
pub(crate) struct Shift {
    source: Source,
    brokers: Vec<Broker>,
    subscription: Arc<Mutex<Subscription>>,
    admin: Arc<Admin>,
    workers: Vec<Worker>,
}

struct Worker {
    section: Arc<Section>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What the workers of a file need together.
struct Needs {
    brokers: Vec<Broker>,
    topics: Vec<String>,
}

impl Needs {
    fn of(config: &Config) -> Result<Needs, String> {
        let mut brokers = Vec::new();
        let mut topics: Vec<String> = Vec::new();
        for section in &config.sections {
            let mut worker = section.worker(&config.source)?;
            let options = worker.options();
            // Warned of once, where the first worker is looked at.
            let first = brokers.is_empty();
            brokers = options.brokers().map_err(|why| why.to_string())?;
            if first {
                options.warn_of_security(&brokers);
            }
            topics.extend(options.levels.topics());
        }
        // The empty one has all others in it.
        if topics.iter().any(String::is_empty) {
            topics = vec![String::new()];
        }
        topics.sort();
        topics.dedup();
        Ok(Needs { brokers, topics })
    }
}

impl Shift {
    pub(crate) fn begin(config: Config, admin: Arc<Admin>) -> Result<Shift, String> {
        let Needs { brokers, topics } = Needs::of(&config)?;
        let subscription = Arc::new(Mutex::new(Subscription::start(&brokers, &topics)));
        let mut shift = Shift { source: config.source, brokers, subscription, admin, workers: Vec::new() };
        config.sections.into_iter().for_each(|section| shift.start(section));
        Ok(shift)
    }

    fn start(&mut self, section: Section) {
        let section = Arc::new(section);
        let (stop, stopped) = watch::channel(false);
        let span = tracing::error_span!("worker", name = section.name);
        self.admin.starts(&section.name);
        let (source, subscription) = (self.source.clone(), self.subscription.clone());
        let keep = keep(section.clone(), source, subscription, self.admin.clone(), stopped);
        self.workers.push(Worker { section, stop, task: tokio::spawn(keep.instrument(span)) });
    }

    /// Goes on with another file: workers of which nothing has changed do not notice.
    pub(crate) async fn change(&mut self, config: Config) -> Result<(), String> {
        let Needs { brokers, topics } = Needs::of(&config)?;
        let keys = |brokers: &[Broker]| brokers.iter().map(|b| b.security().clone()).collect::<Vec<_>>();
        let moves = brokers != self.brokers || keys(&brokers) != keys(&self.brokers);
        let same = |worker: &Worker, section: &Section| {
            !moves && worker.section.name == section.name && worker.section.is_same(section)
        };
        let (stay, go): (Vec<Worker>, Vec<Worker>) = std::mem::take(&mut self.workers)
            .into_iter()
            .partition(|worker| config.sections.iter().any(|section| same(worker, section)));
        let (stayed, ended) = (stay.len(), go.len());
        let gone: Vec<String> = go.iter().map(|worker| worker.section.name.clone()).collect();
        self.workers = stay;
        // Before the new ones begin: a state directory has one user at a time.
        end_all(go).await;
        gone.iter().for_each(|name| self.admin.ended(name));
        if moves {
            self.subscription = Arc::new(Mutex::new(Subscription::start(&brokers, &topics)));
        } else {
            self.subscription.lock().unwrap_or_else(PoisonError::into_inner).set_topics(&topics);
        }
        (self.source, self.brokers) = (config.source, brokers);
        let new: Vec<Section> = config
            .sections
            .into_iter()
            .filter(|section| !self.workers.iter().any(|worker| worker.section.name == section.name))
            .collect();
        tracing::info!(stayed, ended, started = new.len(), "the configuration was read again");
        new.into_iter().for_each(|section| self.start(section));
        Ok(())
    }

    /// Ends all workers, each with what it has.
    pub(crate) async fn end(self) {
        end_all(self.workers).await;
    }
}

async fn end_all(workers: Vec<Worker>) {
    for worker in &workers {
        worker.stop.send_replace(true);
    }
    for worker in workers {
        if let Err(why) = worker.task.await {
            tracing::error!(name = worker.section.name, "failed to end a worker well: {why}");
        }
    }
}

/// Runs a worker until it is stopped, again and again where it fails.
async fn keep(
    section: Arc<Section>,
    source: Source,
    subscription: Arc<Mutex<Subscription>>,
    admin: Arc<Admin>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let (source, subscription) = (source.clone(), subscription.clone());
        let work = once(section.clone(), source, subscription, admin.clone(), stopped.clone());
        let failed = match caught(work).await {
            Ok(()) => return,
            Err(why) => why,
        };
        admin.failed(&section.name, &failed);
        tracing::error!("failed to {failed}; the worker is started again in {} s", AGAIN.as_secs());
        let stopped = stopped.wait_for(|stopped| *stopped);
        if tokio::time::timeout(AGAIN, stopped).await.is_ok() {
            return;
        }
    }
}

/// Does it, and takes a panic for a failure: nobody else would start the worker again.
async fn caught(work: impl Future<Output = Result<(), String>> + Send + 'static) -> Result<(), String> {
    let done = tokio::spawn(work.in_current_span()).await;
    done.unwrap_or_else(|why| Err(format!("keep the worker going: {why}")))
}

async fn once(
    section: Arc<Section>,
    source: Source,
    subscription: Arc<Mutex<Subscription>>,
    admin: Arc<Admin>,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), String> {
    let worker = section.worker(&source)?;
    let tap = subscription.lock().unwrap_or_else(PoisonError::into_inner).tap();
    let stop = Box::pin(async move {
        // Without a sender there is nobody left to work for.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    });
    let running = worker.run(tap, admin, stop).map_err(|why| why.to_string())?;
    running.await.map_err(|why| why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_failure_after_which_the_worker_is_started_again() {
        assert_eq!(caught(async { Ok(()) }).await, Ok(()));
        let why = caught(async { panic!("out of luck") }).await.unwrap_err();
        assert!(why.contains("out of luck"), "{why}");
    }
}
