//! Accepting: every connection gets a task, and its place in [`Links`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::connection::{self, Peer, Service};
use super::guard::Guard;
use super::handshake::shake;
use super::links::{Entered, Links, NotGreeted, Told};
use super::outbox::{Outbox, Pool};
use crate::error::Error;
use crate::keep::Origin;
use crate::refusals::Refusals;
use crate::stop::Stop;

/// How long to wait when the process cannot take a connection.
const PAUSE: Duration = Duration::from_millis(20);
/// How long connections have to end by themselves when the broker stops.
const ENDING: Duration = Duration::from_secs(5);

/// What all ports share.
#[derive(Clone)]
pub(crate) struct Net {
    pub(crate) links: Arc<Links>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) guard: Arc<Guard>,
}

/// A port that is listened on.
pub(crate) struct Listener(Vec<TcpListener>);

impl Listener {
    /// Listens on all addresses of `host` and a port.
    pub(crate) async fn bind(host: &str, port: u16) -> Result<Listener, Error> {
        let failed = |source| Error::Listen { address: address(host, port), source };
        let addresses =
            tokio::net::lookup_host((host.trim_matches(['[', ']']), port)).await.map_err(failed)?;
        let mut listeners = Vec::new();
        let mut missing = None;
        for address in addresses {
            match TcpListener::bind(address).await {
                Ok(listener) => listeners.push(listener),
                // A name may stand for an address of a kind that this host does not have.
                Err(why) if why.kind() == std::io::ErrorKind::AddrNotAvailable => missing = Some(why),
                Err(why) => return Err(failed(why)),
            }
        }
        match missing {
            _ if !listeners.is_empty() => Ok(Listener(listeners)),
            Some(why) => Err(failed(why)),
            None => Err(failed(std::io::ErrorKind::AddrNotAvailable.into())),
        }
    }

    /// Accepts until `stop`, then ends as soon as all connections have.
    pub(crate) async fn run(self, net: Net, service: Arc<dyn Service>, stop: Stop) {
        let place = service.place();
        let mut accepting = JoinSet::new();
        for listener in self.0 {
            accepting.spawn(accept(listener, net.clone(), service.clone(), stop.clone()));
        }
        while let Some(ended) = accepting.join_next().await {
            if let Err(error) = ended {
                tracing::error!(place, "a task of the broker failed: {error}");
            }
        }
    }
}

async fn accept(listener: TcpListener, net: Net, service: Arc<dyn Service>, mut stop: Stop) {
    let place = service.place();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.stopped() => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!(place, "the task of a connection failed: {error}");
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => match net.links.enter(place, from.ip().to_canonical()) {
                Ok(entered) => {
                    connections.spawn(serve(stream, from, entered, net.clone(), service.clone()));
                }
                Err(why) => {
                    let who = from.ip().to_canonical().to_string();
                    net.refusals.count_of(place, why, &who, "a connection beyond the limit");
                }
            },
            Err(error) if is_of_one(&error) => {}
            Err(error) => {
                net.refusals.count(place, "accept", error);
                // Most likely there are no descriptors left.
                net.links.shed();
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    net.links.finish(place);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(ENDING, all).await.is_err() {
        connections.shutdown().await;
    }
}

/// Whether accepting failed for one connection only, which is gone.
fn is_of_one(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, WouldBlock};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | WouldBlock)
}

async fn serve(
    mut stream: TcpStream,
    from: SocketAddr,
    entered: Entered,
    net: Net,
    service: Arc<dyn Service>,
) {
    let Net { links, pool, refusals, guard } = net;
    let (place, link) = (service.place(), entered.link.clone());
    prepare(&stream);
    let (mechanism, refused) = guard.mechanism();
    let time = links.limits().handshake;
    let shaken = tokio::select! {
        biased;
        _ = link.changed(Told::Run) => return,
        shaken = shake(&mut stream, service.kind(), mechanism, service.wire().message, time) => shaken,
    };
    let address = from.ip().to_canonical().to_string();
    let shaken = match shaken {
        Ok(shaken) => shaken,
        Err(not) => {
            let detail = refused.get().map_or(not.detail, |key| format!("the key {key} is not allowed"));
            return refusals.count_of(place, not.why, &address, detail);
        }
    };
    let Some(who) = guard.who(shaken.key, &address) else {
        return refusals.count_of(place, "unknown_key", &address, "its key is no longer allowed");
    };
    if let Some(why) = service.refuses(&who) {
        return refusals.count_of(place, why, &who.name, "its identity may not do that");
    }
    let may_still = || guard.still_has(&who, shaken.key);
    match links.greeted(&link, &who.name, shaken.key.is_some(), may_still) {
        Ok(()) => {}
        Err(NotGreeted::Ended) => return,
        Err(NotGreeted::Refused(why)) => {
            return refusals.count_of(place, why, &who.name, "a connection beyond the limit");
        }
        Err(NotGreeted::Forbidden) => {
            return refusals.count_of(place, "revoked", &who.name, "no longer allowed");
        }
    }
    let outbox = Outbox::new(service.queue(), pool, &who.name);
    let origin = Origin { sender: who.name.clone(), connection: link.id, instances: who.instances() };
    let peer = Arc::new(Peer { link, who, outbox, minor: shaken.minor, origin });
    connection::serve(stream, &peer, shaken.secure, &*service, &links, &refusals).await;
}

/// Messages go out at once, and a host that is gone is noticed.
fn prepare(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(20))
        .with_retries(3);
    // Without these it is slower, or notices later.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}

pub(crate) fn address(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("tcp://[{host}]:{port}")
    } else {
        format!("tcp://{host}:{port}")
    }
}
