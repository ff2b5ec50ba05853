//! Measuring one thing and delivering it before the program ends.

use std::time::Duration;

use crate::failure::Failure;
use crate::labels::Labels;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Measured {
    Count(Amount),
    Change(Amount),
    Duration(Duration),
    Value(f64),
    Gauge(f64),
}

/// An increment; a whole one stays exact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Amount {
    Whole(i64),
    Float(f64),
}

/// Sends one measurement; whether a broker has acknowledged it (if not, that has been said on stderr).
pub(crate) fn deliver(name: &str, labels: &Labels, measured: Measured) -> Result<bool, Failure> {
    labels.check_tags(0)?;
    let builder = zibrato::builder().without_environment();
    let builder = labels.broker.tell(builder).deadline(labels.deadline);
    let builder = match &labels.source {
        Some(source) => builder.source(source),
        None => builder,
    };
    let builder = match &labels.spill {
        Some(directory) => builder.spill(directory),
        None => builder,
    };
    let guard = builder.install().map_err(|why| Failure::To(why.to_string()))?;
    match measured {
        Measured::Count(Amount::Whole(n)) => labelled(zibrato::counter(name), labels).handle().add(n),
        Measured::Count(Amount::Float(n)) => labelled(zibrato::counter(name), labels).handle().add(n),
        Measured::Change(Amount::Whole(n)) => labelled(zibrato::updown(name), labels).handle().add(n),
        Measured::Change(Amount::Float(n)) => labelled(zibrato::updown(name), labels).handle().add(n),
        Measured::Duration(time) => labelled(zibrato::timer(name), labels).handle().record(time),
        Measured::Value(value) => labelled(zibrato::distribution(name), labels).handle().record(value),
        Measured::Gauge(value) => labelled(zibrato::gauge(name), labels).handle().set(value),
    }
    Ok(guard.finish())
}

fn labelled<'a, H>(named: zibrato::Named<'a, H>, labels: &'a Labels) -> zibrato::Named<'a, H> {
    let named = named.level(&labels.level);
    labels.tags.iter().fold(named, |named, (name, value)| named.tag(name, value))
}
