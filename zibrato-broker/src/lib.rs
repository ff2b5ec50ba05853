//! The Zibrato broker: takes frames in, fans them out by level, keeps the newest state of every instance.
//!
//! Three sockets, on ports that follow each other: publishers push to the first one, subscribers get from the
//! second, and on the third one publishers hand over their last sets, workers ask for what they lack, and tools
//! ask for counts. What the broker keeps is in [`keep`], free of sockets and clocks; lines of old Zibrato
//! publishers are read in [`legacy`].
//!
//! ```no_run
//! # async fn example() -> Result<(), zibrato_broker::Error> {
//! let config = zibrato_broker::Config { port: 0, ..Default::default() };
//! let broker = zibrato_broker::Broker::bind(config).await?;
//! println!("push to {}", broker.addresses().push);
//! broker.run(std::future::pending()).await
//! # }
//! ```

mod admin;
mod admit;
mod ask;
mod broker;
mod clock;
mod config;
mod error;
mod gateway;
mod info;
mod intake;
pub mod keep;
pub mod legacy;
mod metrics;
mod net;
mod options;
mod own;
mod program;
mod publishing;
mod pulse;
mod refusals;
mod shared;
mod stop;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod trace;

pub use broker::{Addresses, Broker, run};
pub use config::{Config, ConnectionLimits};
pub use error::Error;
pub use metrics::METRICS;
pub use options::{LimitOptions, Options};
pub use program::{main_with, stop_signal};
