//! The listening side: ZMTP over TCP, with limits on all that a peer can make the broker hold.
//!
//! `omq-proto` does the handshake and, under CURVE, the encryption. Without encryption frames are split and passed on as
//! the bytes that came, because PUSH and PUB frame alike; see `docs/design.md`.

mod connection;
mod fanout;
mod guard;
mod handshake;
mod input;
mod links;
mod listener;
mod outbox;
mod rate;
mod split;
mod subscriptions;

pub(crate) use connection::{Batch, Peer, Service, subscribe_all};
pub(crate) use fanout::Fanout;

pub(crate) use guard::{Guard, Who};
pub(crate) use links::{Links, Why};
pub(crate) use listener::{Listener, Net, address};
pub(crate) use outbox::{Pool, QueueLimits, Run};
pub(crate) use rate::Rates;
pub(crate) use split::{Item, WireLimits, join};
