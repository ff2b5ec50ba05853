//! The backend: batches in, lines out.

use std::time::{Duration, Instant};

use zibrato_worker::{Accepted, Backend, BackendError, Batch, Series};

use crate::address::Address;
use crate::datagrams::{Datagrams, MOST};
use crate::encode::{Unit, encode};
use crate::options::{Delivery, Options};
use crate::packet::pack;
use crate::stream::Stream;
use crate::{Error, naming};

/// A daemon that read a batch to its end so lately needs no probe.
const LATELY: Duration = Duration::from_millis(100);
/// The longest line of a stream: what Datadog's agent reads.
const LONGEST: usize = 8192;

/// Sends to a StatsD daemon.
#[derive(Debug)]
pub struct Statsd {
    options: Options,
    datagrams: Option<Datagrams>,
    stream: Option<Stream>,
    /// When the daemon was last seen to have read everything.
    alive: Option<Instant>,
    /// A batch that may have been sent by a worker before this one.
    in_doubt: Option<u64>,
    /// Whether doubt was logged since a batch was last sent without any.
    told: bool,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    packets: u64,
    lines: u64,
    bytes: u64,
    errors: u64,
    in_doubt: u64,
}

/// What became of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// They were handed over, and nothing is known to have gone wrong.
    Sent,
    /// They have not arrived.
    Unsent,
    /// They may have arrived or not.
    Unsure,
}

/// Lines of a batch: which measurement's, and what became of them.
struct Sending {
    measurement: usize,
    unit: Unit,
    fate: Fate,
}

impl Statsd {
    /// A backend with these options; nothing is opened yet.
    ///
    /// # Errors
    /// When options contradict each other.
    pub fn new(options: Options) -> Result<Statsd, Error> {
        let dogstatsd = options.dialect == crate::Dialect::Dogstatsd;
        if dogstatsd && options.updown == Some(crate::Updown::Gauge) {
            return Err(Error::UpdownGauge);
        }
        if options.timestamps && !dogstatsd {
            return Err(Error::Timestamps);
        }
        Ok(Statsd {
            options,
            datagrams: None,
            stream: None,
            alive: None,
            in_doubt: None,
            told: false,
            counts: Counts::default(),
        })
    }

    fn is_stream(&self) -> bool {
        matches!(self.options.address, Address::Tcp(_) | Address::Unix(_))
    }

    /// Most bytes of one line.
    fn longest(&self) -> usize {
        match &self.datagrams {
            Some(datagrams) => datagrams.payload(),
            None if self.is_stream() => LONGEST,
            None => self.options.mtu.map_or(MOST, |mtu| (mtu as usize).saturating_sub(48)),
        }
    }

    /// The lines of a batch, and what cannot be sent.
    fn encode(&self, batch: &Batch) -> (Vec<Sending>, Vec<(usize, String)>) {
        let (mut sendings, mut refused) = (Vec::new(), Vec::new());
        for (index, measurement) in batch.measurements.iter().enumerate() {
            match encode(measurement, batch.time, &self.options, self.longest()) {
                Ok(units) => sendings.extend(units.into_iter().map(|unit| Sending {
                    measurement: index,
                    unit,
                    fate: Fate::Unsent,
                })),
                Err(why) => refused.push((index, why)),
            }
        }
        (sendings, refused)
    }

    fn failed(&mut self, doing: &str, why: impl std::fmt::Display) -> String {
        self.counts.errors += 1;
        format!("failed to {doing} {}: {why}", self.options.address)
    }

    async fn open(&mut self) -> Result<(), String> {
        if !self.is_stream() {
            if self.datagrams.as_ref().is_some_and(|datagrams| !datagrams.is_old()) {
                return Ok(());
            }
            let Options { address, mtu, timeout, .. } = &self.options;
            let opened = Datagrams::open(address, *mtu, *timeout).await;
            self.datagrams = Some(opened.map_err(|why| self.failed("open a socket to", why))?);
            return Ok(());
        }
        let (address, patience) = (self.options.address.clone(), self.options.timeout);
        if self.options.keep_connection {
            let is_open = match &mut self.stream {
                Some(stream) => stream.is_open().await,
                None => false,
            };
            if is_open {
                return Ok(());
            }
        } else if self.alive.is_none_or(|alive| alive.elapsed() > LATELY) {
            let probed = Stream::probe(&address, patience).await;
            probed.map_err(|why| self.failed("see anybody read at", why))?;
            self.alive = Some(Instant::now());
        }
        let opened = Stream::open(&address, patience).await;
        self.stream = Some(opened.map_err(|why| self.failed("connect to", why))?);
        Ok(())
    }

    /// Sends what is not sent, as far as that goes; says why no further.
    async fn deliver(&mut self, sendings: &mut [Sending]) -> Result<(), String> {
        self.open().await?;
        if self.is_stream() {
            self.deliver_stream(sendings).await
        } else {
            self.deliver_datagrams(sendings).await
        }
    }

    async fn deliver_datagrams(&mut self, sendings: &mut [Sending]) -> Result<(), String> {
        let Some(datagrams) = &mut self.datagrams else { return Err("the socket is not open".into()) };
        for packet in pack(sendings.iter().map(|sending| &sending.unit), datagrams.payload()) {
            let sent = datagrams.send(packet.text.as_bytes()).await;
            let fate = match &sent {
                Ok(()) => Fate::Sent,
                Err(unsent) if unsent.certain => Fate::Unsent,
                Err(_) => Fate::Unsure,
            };
            sendings[packet.units].iter_mut().for_each(|sending| sending.fate = fate);
            if let Err(unsent) = sent {
                // The next one learns the path anew.
                self.datagrams = None;
                return Err(self.failed("send to", unsent.why));
            }
            self.counts.packets += 1;
            self.counts.bytes += packet.text.len() as u64;
        }
        Ok(())
    }

    async fn deliver_stream(&mut self, sendings: &mut [Sending]) -> Result<(), String> {
        let Some(mut stream) = self.stream.take() else { return Err("the stream is not open".into()) };
        let mut text = String::new();
        let mut begins = Vec::with_capacity(sendings.len());
        for sending in &*sendings {
            begins.push(text.len());
            text += &sending.unit.text;
            text.push('\n');
        }
        let written = stream.write(text.as_bytes()).await;
        let taken = written.as_ref().map_or_else(|broken| broken.taken, |()| text.len());
        let taken_over = sendings.iter_mut().zip(&begins).filter(|&(_, &begin)| begin < taken);
        taken_over.for_each(|(sending, _)| sending.fate = Fate::Unsure);
        self.counts.bytes += taken as u64;
        if let Err(broken) = written {
            self.alive = None;
            return Err(self.failed("write to", broken.why));
        }
        if self.options.keep_connection {
            self.stream = Some(stream);
        } else if let Err(why) = stream.close().await {
            self.alive = None;
            return Err(self.failed("see everything read by", why));
        } else {
            self.alive = Some(Instant::now());
        }
        sendings.iter_mut().for_each(|sending| sending.fate = Fate::Sent);
        Ok(())
    }

    /// Leaves out what would be counted twice if a worker before this one has sent it.
    fn leave_out_doubtful(&mut self, sendings: &mut Vec<Sending>) {
        if self.options.delivery == Delivery::AtLeastOnce {
            return;
        }
        let mut measurements: Vec<usize> = sendings
            .iter()
            .filter(|sending| !sending.unit.repeatable)
            .map(|sending| sending.measurement)
            .collect();
        measurements.dedup();
        sendings.retain(|sending| sending.unit.repeatable);
        self.doubt(measurements.len(), "the worker before this one ended while it was sending");
    }

    fn doubt(&mut self, measurements: usize, why: &str) {
        if measurements == 0 {
            return;
        }
        self.counts.in_doubt += measurements as u64;
        if !self.told {
            self.told = true;
            let done = match self.options.delivery {
                Delivery::AtMostOnce => "not sent again, so that nothing counts twice",
                Delivery::AtLeastOnce => "sent again, and may count twice",
            };
            tracing::warn!(
                measurements,
                why,
                "nobody knows whether measurements have arrived; they are {done}"
            );
        }
    }

    /// Whether all measurements that have lines are among these.
    fn is_all(sendings: &[Sending], measurements: &[usize]) -> bool {
        sendings.iter().all(|sending| measurements.binary_search(&sending.measurement).is_ok())
    }

    /// Which measurements are to be sent again.
    fn again(&mut self, sendings: &[Sending], why: Option<&str>) -> Vec<usize> {
        let (mut again, mut doubtful) = (Vec::new(), 0);
        for own in sendings.chunk_by(|a, b| a.measurement == b.measurement) {
            if own.iter().all(|sending| sending.fate == Fate::Sent) {
                continue;
            }
            let is_repeatable = own.iter().all(|sending| sending.unit.repeatable);
            let is_unsent = own.iter().all(|sending| sending.fate == Fate::Unsent);
            doubtful += usize::from(!is_repeatable && !is_unsent);
            if is_repeatable || is_unsent || self.options.delivery == Delivery::AtLeastOnce {
                again.push(own[0].measurement);
            }
        }
        self.doubt(doubtful, why.unwrap_or_default());
        self.told &= why.is_some();
        again
    }
}

impl Backend for Statsd {
    const NAME: &'static str = "statsd";

    fn series(&self, series: &mut Series) -> Result<(), String> {
        naming::clean(series, &self.options)
    }

    async fn connect(&mut self) -> Result<(), BackendError> {
        self.open().await.map_err(|why| BackendError::Retry { why, after: None })
    }

    fn in_doubt(&mut self, batch: &Batch) {
        self.in_doubt = Some(batch.id);
    }

    async fn send(&mut self, batch: &Batch) -> Result<Accepted, BackendError> {
        let (mut sendings, refused) = self.encode(batch);
        let in_doubt = self.in_doubt.take() == Some(batch.id);
        if in_doubt {
            self.leave_out_doubtful(&mut sendings);
        }
        let result = if sendings.is_empty() { Ok(()) } else { self.deliver(&mut sendings).await };
        let sent = sendings.iter().filter(|sending| sending.fate == Fate::Sent);
        self.counts.lines += sent.map(|sending| sending.unit.text.lines().count() as u64).sum::<u64>();
        let why = result.err();
        let retry = self.again(&sendings, why.as_deref());
        match why {
            // What was left out must not come back with the rest.
            Some(why) if refused.is_empty() && !in_doubt && Self::is_all(&sendings, &retry) => {
                Err(BackendError::Retry { why, after: None })
            }
            _ if refused.is_empty() && retry.is_empty() => Ok(Accepted::All),
            _ => Ok(Accepted::Partly { refused, retry }),
        }
    }

    fn counts(&self) -> Vec<(&'static str, u64)> {
        let Counts { packets, lines, bytes, errors, in_doubt } = self.counts;
        vec![
            ("packets_sent", packets),
            ("lines_sent", lines),
            ("bytes_sent", bytes),
            ("send_errors", errors),
            ("measurements_in_doubt", in_doubt),
        ]
    }

    fn render(&self, batch: &Batch) -> String {
        let (sendings, refused) = self.encode(batch);
        let units = sendings.iter().map(|sending| &sending.unit);
        let mut text = if self.is_stream() {
            units.map(|unit| format!("{}\n", unit.text)).collect()
        } else {
            // Packets are apart by an empty line.
            let packets = pack(units, self.longest());
            packets.iter().map(|packet| packet.text.as_str()).collect::<Vec<_>>().join("\n\n") + "\n"
        };
        for (index, why) in refused {
            let series = &batch.measurements[index].series;
            text += &format!("not sent: {}: {why}\n", series.name);
        }
        text
    }
}
