//! A fleet of applications, brokers and workers with real servers behind them, a seeded schedule of everything that can
//! happen to it, and a comparison of all totals at the end: what applications say in ledgers of their own, what workers have
//! settled, and what servers have.
//!
//! Everything is on loopback and ends by itself. Of a run the seed gives how many brokers there are, what applications do,
//! and what happens when to whom; which message is hit, and what is being done at that moment, it does not.
#![cfg(target_os = "linux")]

pub mod application;
pub mod audit;
pub mod clock;
pub mod conservation;
pub mod disk;
pub mod fork;
pub mod hop;
pub mod info;
pub mod keys;
pub mod ledger;
pub mod load;
pub mod part;
pub mod place;
pub mod random;
pub mod report;
pub mod run;
pub mod schedule;
pub mod servers;
pub mod settled;
pub mod truth;
pub mod witness;
pub mod work;
pub mod zmtp;
