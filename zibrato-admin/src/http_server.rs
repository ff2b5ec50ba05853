//! An HTTP server that no client keeps from others, on a thread and a runtime of its own.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, Id, JoinSet};

/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(5);
/// Most bytes of the head of a request.
const HEAD_BYTES: usize = 16 << 10;
/// Most headers of a request.
const HEADERS: usize = 64;

/// What clients may take.
#[derive(Debug, Clone, Copy)]
pub struct HttpLimits {
    /// Most connections at once. For one more the oldest of the address that has most is closed.
    pub connections: usize,
    /// How long a connection may take in all, until its answer has been read; it has one request, whose head may take
    /// 5 s and 16 KiB.
    pub connection: Duration,
}

/// A running server of HTTP/1; ends when it is dropped.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Answers whoever connects to the listener. `answer` is called in the server's thread, so what takes long or waits
    /// for locks belongs into [`tokio::task::spawn_blocking`], of which two run at a time.
    ///
    /// # Errors
    /// When the listener cannot be used or the thread not be started.
    pub fn start<Answer, Answered>(
        name: &str,
        listener: std::net::TcpListener,
        limits: HttpLimits,
        answer: Answer,
    ) -> io::Result<HttpServer>
    where
        Answer: Fn(Request<Incoming>) -> Answered + Clone + Send + 'static,
        Answered: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(2)
            .thread_name(format!("{name}-answer"))
            .build()?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    () = serve(listener, limits, answer) => {}
                    // A sender that is gone says the same.
                    _ = stopped => {}
                }
            });
            // What waits for a lock of the program, or for a reader, must not hold up its end.
            runtime.shutdown_background();
        })?;
        Ok(HttpServer { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended before.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve<Answer, Answered>(listener: TcpListener, limits: HttpLimits, answer: Answer)
where
    Answer: Fn(Request<Incoming>) -> Answered + Clone + Send + 'static,
    Answered: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let mut open = Open::default();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    if open.count() >= limits.connections {
                        open.close_one();
                    }
                    let task = connections.spawn(connection(stream, limits.connection, answer.clone()));
                    open.add(from.ip(), task);
                }
                // Too many open files, mostly.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(ended) = connections.join_next_with_id() => {
                open.remove(ended.map_or_else(|aborted| aborted.id(), |(id, ())| id));
            }
        }
    }
}

async fn connection<Answer, Answered>(stream: TcpStream, patience: Duration, answer: Answer)
where
    Answer: Fn(Request<Incoming>) -> Answered,
    Answered: Future<Output = Response<Full<Bytes>>>,
{
    let service = service_fn(move |request| {
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // An error means that the other end has gone, was too slow, or speaks something else.
    let _ = tokio::time::timeout(patience, served).await;
}

/// The connections that there are, each address' from the oldest to the youngest.
#[derive(Default)]
struct Open {
    by_address: HashMap<IpAddr, Vec<AbortHandle>>,
    addresses: HashMap<Id, IpAddr>,
}

impl Open {
    fn count(&self) -> usize {
        self.addresses.len()
    }

    fn add(&mut self, from: IpAddr, task: AbortHandle) {
        self.addresses.insert(task.id(), from);
        self.by_address.entry(from).or_default().push(task);
    }

    fn remove(&mut self, id: Id) {
        let Some(from) = self.addresses.remove(&id) else { return };
        if let Some(tasks) = self.by_address.get_mut(&from) {
            tasks.retain(|task| task.id() != id);
            if tasks.is_empty() {
                self.by_address.remove(&from);
            }
        }
    }

    fn close_one(&mut self) {
        let most = self.by_address.values().max_by_key(|tasks| tasks.len());
        if let Some(oldest) = most.and_then(|tasks| tasks.first().cloned()) {
            oldest.abort();
            self.remove(oldest.id());
        }
    }
}
