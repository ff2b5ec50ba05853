//! A program in which a library reports to the facade `metrics`, and so, with one call, through Zibrato.
//!
//! Start a broker and watch what passes, each in a terminal of its own:
//!
//!     cargo run -p zibrato-cli -- broker
//!     cargo run -p zibrato-cli -- tail
//!
//! and then, with the number of messages (1000 if not given):
//!
//!     cargo run -p zibrato-examples --example bridge_metrics -- 5000

use std::thread;

/// A library as one finds it: it knows `metrics`, and nothing of Zibrato.
mod mailer {
    use std::time::Instant;

    use metrics::{Unit, counter, gauge, histogram};

    pub(crate) struct Mailer {
        sent: u64,
    }

    impl Mailer {
        pub(crate) fn new() -> Self {
            metrics::describe_counter!("mailer.bytes", Unit::Bytes, "Bytes of all messages sent.");
            metrics::describe_histogram!("mailer.latency", Unit::Seconds, "How long sending took.");
            Mailer { sent: 0 }
        }

        pub(crate) fn send(&mut self, to: &str, text: &str) {
            let start = Instant::now();
            let domain = to.split_once('@').map_or("local", |(_, domain)| domain).to_string();
            self.sent += text.len() as u64;
            counter!("mailer.messages", "domain" => domain).increment(1);
            // Here the library counts by itself, and tells the sum.
            counter!("mailer.bytes").absolute(self.sent);
            gauge!("mailer.last_size").set(text.len() as f64);
            histogram!("mailer.latency").record(start.elapsed());
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Keep the guard: when it is dropped, at the end of main, the last totals are delivered.
    let _zibrato = zibrato::install()?;
    // Before the library is used. What the library tells of each message is for whoever looks closely.
    zibrato::bridge::metrics::recorder()
        .level("bridge_metrics::mailer::*", "info")
        .name_level("mailer.l*", "debug")
        .install()?;

    let messages: usize = std::env::args().nth(1).map_or(Ok(1000), |number| number.parse())?;
    let worker = thread::spawn(move || {
        let mut mailer = mailer::Mailer::new();
        for message in 0..messages {
            let to = ["ada@example.org", "bob@example.com"][message % 2];
            mailer.send(to, &"Dear reader, ".repeat(message % 7));
        }
    });
    worker.join().map_err(|_| "the mailer panicked")?;
    println!("{messages} messages sent");
    Ok(())
}
