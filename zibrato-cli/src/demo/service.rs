//! A sample service that does real work and measures it: a small search engine.
//!
//! Threads write documents, digest and sort them; tasks search what is on the shelf, sometimes for what is not there,
//! and sometimes longer than the client waits. It is written like any program that uses the library, but for the
//! tallies.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::task::JoinSet;
use zibrato::{count, count_me, gauge, record, time_me, updown};

use super::tally;
use super::text::{Dice, document, word};

const INDEXERS: u64 = 2;
const CLIENTS: u64 = 4;
/// Most documents that are kept.
const SHELF: usize = 64;
/// How long a client waits.
const PATIENCE: Duration = Duration::from_millis(9);

/// Sorted words of documents, newest last.
type Shelf = RwLock<VecDeque<Arc<Vec<String>>>>;

/// The service at work.
pub(super) struct Service {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    tasks: JoinSet<()>,
}

impl Service {
    /// Must be called within a tokio runtime.
    pub(super) fn start() -> std::io::Result<Service> {
        zibrato::describe("index.document_size", "By", "Sizes of the documents that are indexed.");
        let stop = Arc::new(AtomicBool::new(false));
        let shelf = Arc::new(Shelf::default());
        let mut threads = Vec::new();
        for number in 0..INDEXERS {
            let (shelf, stop) = (shelf.clone(), stop.clone());
            let thread = std::thread::Builder::new().name(format!("indexer-{number}"));
            threads.push(thread.spawn(move || index(&shelf, number, &stop))?);
        }
        let (cleaned, until) = (shelf.clone(), stop.clone());
        let cleaner = std::thread::Builder::new().name("cleaner".into());
        threads.push(cleaner.spawn(move || clean(&cleaned, &until))?);
        let mut tasks = JoinSet::new();
        for number in 0..CLIENTS {
            tasks.spawn(client(shelf.clone(), number, stop.clone()));
        }
        Ok(Service { stop, threads, tasks })
    }

    /// Lets everything come to its end.
    pub(super) async fn stop(self) {
        self.stop.store(true, Relaxed);
        self.tasks.join_all().await;
        let threads = self.threads;
        let join = || threads.into_iter().for_each(|thread| drop(thread.join()));
        let _ = tokio::task::spawn_blocking(join).await;
    }
}

/// What an indexer thread does.
fn index(shelf: &Shelf, number: u64, stop: &AtomicBool) {
    let mut dice = Dice::new(number + 1);
    while !stop.load(Relaxed) {
        let words = 200 + dice.below(1800);
        let text = document(&mut dice, words);
        record!("index.document_size", text.len());
        tally::DOCUMENTS.add(1);
        tally::BYTES.add(text.len() as i64);

        digest(text.as_bytes());
        tally::DIGESTS.add(1);

        let words = sorted(&text);
        tally::SORTS.add(1);

        put(shelf, words);
        std::thread::sleep(Duration::from_micros(1000 + dice.below(4000)));
    }
}

#[time_me(level = "debug", name = "index.digest", tags(algorithm = "fnv1a"))]
fn digest(bytes: &[u8]) -> u64 {
    bytes.chunks(16).fold(0xcbf2_9ce4_8422_2325, |hash, block| {
        count!(level = "debug", "index.blocks");
        tally::BLOCKS.add(1);
        block.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
    })
}

#[time_me(name = "index.sort")]
fn sorted(text: &str) -> Vec<String> {
    let mut words: Vec<String> = text.split(' ').map(String::from).collect();
    words.sort_unstable();
    words.dedup();
    words
}

#[count_me(name = "index.words", value = words.len())]
fn put(shelf: &Shelf, words: Vec<String>) {
    tally::WORDS.add(words.len() as i64);
    shelf.write().unwrap_or_else(PoisonError::into_inner).push_back(Arc::new(words));
    updown!("shelf.documents", 1);
    tally::KEPT.add(1);
}

/// What the cleaner thread does, with the help of threads that live for a moment.
fn clean(shelf: &Shelf, stop: &AtomicBool) {
    while !stop.load(Relaxed) {
        std::thread::sleep(Duration::from_millis(50));
        let too_many = {
            let mut shelf = shelf.write().unwrap_or_else(PoisonError::into_inner);
            let too_many = shelf.len().saturating_sub(SHELF);
            shelf.drain(..too_many).collect::<Vec<_>>()
        };
        std::thread::scope(|scope| {
            for some in too_many.chunks(8) {
                scope.spawn(move || {
                    count!("shelf.cleaner_threads");
                    tally::CLEANERS.add(1);
                    updown!("shelf.documents", -(some.len() as i64));
                    tally::KEPT.add(-(some.len() as i64));
                });
            }
        });
        let vocabulary = vocabulary(shelf);
        gauge!("shelf.vocabulary", vocabulary);
        tally::VOCABULARY.set(vocabulary as i64);
    }
}

fn vocabulary(shelf: &Shelf) -> usize {
    let documents: Vec<_> =
        shelf.read().unwrap_or_else(PoisonError::into_inner).iter().take(8).cloned().collect();
    let mut words: Vec<&String> = documents.iter().flat_map(|words| words.iter()).collect();
    words.sort_unstable();
    words.dedup();
    words.len()
}

/// What a client task does.
async fn client(shelf: Arc<Shelf>, number: u64, stop: Arc<AtomicBool>) {
    let mut dice = Dice::new(100 + number);
    let (client, hits) =
        if number.is_multiple_of(2) { ("web", &tally::WEB_HITS) } else { ("phone", &tally::PHONE_HITS) };
    // A tag that is known only at run time takes a handle, which is kept.
    let counted = zibrato::counter("search.hits").tag("client", client).handle();
    while !stop.load(Relaxed) {
        let wanted = if dice.below(8) == 0 { "nothing".into() } else { word(&mut dice) };
        let way = Duration::from_micros(500 + dice.below(9500));
        match tokio::time::timeout(PATIENCE, search(&shelf, &wanted, way)).await {
            Ok(Ok(found)) => {
                tally::FOUND.add(1);
                counted.add(found);
                hits.add(found as i64);
            }
            Ok(Err(NotFound)) => {
                tally::MISSED.add(1);
                count!(level = "error", "search.failures");
                tally::FAILURES.add(1);
            }
            Err(_) => tally::CANCELLED.add(1),
        }
        tokio::time::sleep(Duration::from_micros(dice.below(3000))).await;
    }
}

struct NotFound;

#[time_me(name = "search.request", outcome)]
async fn search(shelf: &Shelf, wanted: &str, way: Duration) -> Result<u64, NotFound> {
    // The way of the question to the shelf.
    tokio::time::sleep(way).await;
    let documents: Vec<_> = shelf.read().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
    let has = |words: &&Arc<Vec<String>>| words.binary_search_by(|w| w.as_str().cmp(wanted)).is_ok();
    match documents.iter().filter(has).count() {
        0 => Err(NotFound),
        found => Ok(found as u64),
    }
}
