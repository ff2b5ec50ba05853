//! The three ends against peers of all kinds, over connections that nothing protects.

mod support;

#[path = "ends/asker.rs"]
mod asker;
#[path = "ends/push.rs"]
mod push;
#[path = "ends/subscriber.rs"]
mod subscriber;
