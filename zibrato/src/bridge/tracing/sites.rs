use std::hash::{Hash, Hasher};
use std::sync::OnceLock;

use tracing_core::callsite::Identifier;
use tracing_core::{Level, Metadata};

use super::fields::Fields;
use crate::bridge::append_map::AppendMap;
use crate::bridge::rules::Rules;
use crate::{Counter, Timer};

/// What counts events; their level and target are tags.
const EVENTS: &str = "log.events";

/// What is known of every span and event in the program's text that came by.
#[derive(Debug)]
pub(super) struct Sites(AppendMap<Identifier, Site>);

/// A span or an event in the program's text.
#[derive(Debug)]
pub(super) struct Site {
    /// `None` where it is not to be measured.
    level: Option<String>,
    name: String,
    /// Whether fields of it become tags.
    pub(super) has_tags: bool,
    timer: OnceLock<Timer>,
    counter: OnceLock<Counter>,
}

impl Sites {
    pub(super) fn new() -> Self {
        Sites(AppendMap::new(usize::MAX))
    }

    pub(super) fn get(&self, metadata: &Metadata<'_>, rules: &Rules, tag_fields: &[String]) -> Option<&Site> {
        let callsite = metadata.callsite();
        let mut hash = Address::default();
        callsite.hash(&mut hash);
        self.0.get_or_insert(
            hash.0,
            |key| *key == callsite,
            || (metadata.callsite(), Site::new(metadata, rules, tag_fields)),
        )
    }
}

/// Addresses are hashed by the map.
#[derive(Default)]
struct Address(u64);

impl Hasher for Address {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_usize(&mut self, address: usize) {
        self.0 = self.0.rotate_left(32) ^ address as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Site {
    fn new(metadata: &Metadata<'_>, rules: &Rules, tag_fields: &[String]) -> Self {
        let (target, name) = (metadata.target(), metadata.name());
        let level = level_by(rules, metadata).map(String::from);
        let has_tags = metadata.fields().iter().any(|field| tag_fields.iter().any(|t| t == field.name()));
        Site {
            level,
            name: if metadata.is_event() { target.into() } else { format!("{target}::{name}") },
            has_tags,
            timer: OnceLock::new(),
            counter: OnceLock::new(),
        }
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.level.is_some()
    }

    /// Records how long a span took.
    pub(super) fn record(&self, nanos: u64, fields: &Fields) {
        let Some(level) = &self.level else { return };
        let timer = || crate::timer(&self.name).level(level);
        if self.has_tags {
            fields.tags().fold(timer(), |timer, (n, v)| timer.tag(n, v)).handle().record_nanos(nanos);
        } else {
            self.timer.get_or_init(|| timer().handle()).record_nanos(nanos);
        }
    }

    /// Counts an event.
    pub(super) fn count(&self, metadata: &Metadata<'_>) {
        let Some(level) = &self.level else { return };
        let counter = crate::counter(EVENTS).level(level).tag("level", level_of(*metadata.level()));
        self.counter.get_or_init(|| counter.tag("target", &self.name).handle()).add(1);
    }
}

/// The level at which a span or event is measured. The names of events are of no use.
pub(super) fn level_by<'a>(rules: &'a Rules, metadata: &Metadata<'_>) -> Option<&'a str> {
    let name = metadata.is_span().then_some(metadata.name());
    rules.level(metadata.target(), name, level_of(*metadata.level()))
}

/// The level of the same name.
fn level_of(level: Level) -> &'static str {
    match level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warn",
        Level::ERROR => "error",
    }
}
