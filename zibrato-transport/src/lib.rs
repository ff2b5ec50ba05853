//! The connecting ends of Zibrato's ZeroMQ sockets, with reconnection and silence detection.
//!
//! Three ends, one for each socket of the broker, and an address:
//!
//! | here | ZeroMQ | broker | for |
//! |---|---|---|---|
//! | [`Push`] | PUSH | PULL, port P | frames on their way to the broker |
//! | [`Subscriber`] | SUB | PUB, port P + 1 | frames on their way from one or several brokers |
//! | [`Asker`] | DEALER | ROUTER, port P + 2 | questions and answers, hand-overs and acknowledgements |
//!
//! Each end runs one task that owns a socket, and makes a new socket whenever the old one failed, was
//! closed by the peer, or is not answered. Nothing that a peer does makes a call of this crate block or its
//! memory grow without bound; a message may be lost or repeated at any time, which frames that carry state
//! are made for.
//!
//! All `start` functions must be called within a tokio runtime of either flavour that has its time and
//! I/O drivers enabled, and the runtime must be running for anything to happen. A program that ends calls
//! [`Push::close`] and [`Asker::close`] first: dropping them drops what is not written yet.
//!
//! A [`Broker`] also says how connections to it are protected, see [`Security`]: those that CURVE encrypts (feature
//! `curve`) stand on `omq-proto`, those that nothing protects on `zeromq`. With the latter, whoever answers at a broker's
//! address is trusted: `zeromq` reserves as much memory as a frame's header says.
//! A broker leaves ZMTP heartbeats off, which `zeromq` does not answer, and answers everything it is asked.
//! A name is looked up on a thread that may outlast its attempt: shut a runtime of your own down with
//! `shutdown_background` or `shutdown_timeout`, as dropping it waits for that thread.
//!
//! No other crate looks behind this one at `zeromq`, whose limits decide how it is built; each module says
//! which ones.

mod address;
mod asker;
mod backoff;
mod beat;
mod connect;
#[cfg(feature = "curve")]
mod curve;
mod inbox;
mod outbound;
mod push;
mod refusals;
mod security;
mod subscriber;
mod window;

pub use address::{BadBroker, Broker, DEFAULT_PORT, parse_brokers};
pub use asker::{Asker, AskerStats};
pub use connect::prepare;
pub use push::{Limits, Push, PushStats};
pub use security::{BadKeys, KeyFiles, Security};
pub use subscriber::{Event, SILENCE, Subscriber};
