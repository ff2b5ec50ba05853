//! The same tests as in `plain.rs` over connections that CURVE protects, and what only those refuse.

mod support;

#[path = "ends/asker.rs"]
mod asker;
#[path = "ends/push.rs"]
mod push;
#[path = "ends/refusals.rs"]
mod refusals;
#[path = "ends/subscriber.rs"]
mod subscriber;
