use std::sync::Arc;

use tracing_core::{LevelFilter, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Filtered;
use tracing_subscriber::registry::LookupSpan;
use zibrato_core::limits::{self, check_name};

use super::layer::{Shared, SpanFilter, SpanLayer};
use super::sites::Sites;
use super::timing::Timed;
use crate::bridge::BridgeError;
use crate::bridge::rules::{By, Rules, rule_methods};

/// What can be said about the layer: which spans are timed, how, and at which level.
///
/// Rules go by the target of a span or event, which is the path of its module unless it says another, or by the name
/// of a span. In their patterns `*` stands for any characters, and `hyper::*` is for the target `hyper` itself, too.
/// Of several rules that match the last one counts.
#[derive(Debug, Clone)]
#[must_use = "nothing is timed before the layer is built and part of a subscriber"]
pub struct Builder {
    rules: Rules,
    max_level: LevelFilter,
    timed: Timed,
    tag_fields: Vec<String>,
    count_events: bool,
}

/// Starts saying how to time spans.
///
/// ```
/// # use zibrato::bridge::{BridgeError, tracing::layer};
/// use tracing_subscriber::prelude::*;
///
/// let spans = layer()
///     .max_level(tracing::Level::DEBUG)
///     .level("sqlx::*", "debug")
///     .ignore("hyper::*")
///     .tag_field("route")
///     .count_events()
///     .build()?;
/// let subscriber = tracing_subscriber::registry().with(spans);
/// # drop(subscriber);
/// # Ok::<(), BridgeError>(())
/// ```
pub fn layer() -> Builder {
    Builder {
        rules: Rules::default(),
        max_level: LevelFilter::INFO,
        timed: Timed::default(),
        tag_fields: Vec::new(),
        count_events: false,
    }
}

impl Builder {
    /// The most verbose level of spans and events that are measured, `INFO` unless set: a `tracing::Level` or a
    /// `LevelFilter`.
    pub fn max_level(mut self, level: impl Into<LevelFilter>) -> Self {
        self.max_level = level.into();
        self
    }

    rule_methods!("spans and events", "spans");

    /// Which time of a span is recorded, that of its whole life unless set.
    pub fn timed(mut self, timed: Timed) -> Self {
        self.timed = timed;
        self
    }

    /// Makes the field of this name a tag, with the value that it has when the span closes.
    ///
    /// Every value makes a timer of its own, so choose fields of few values: a route rather than a path. What
    /// passes the limit on metrics is recorded in `zibrato.overflow`, and a value that cannot be a tag, because it
    /// is too long or has control characters in it, in `zibrato.bad_name`.
    pub fn tag_field(mut self, name: &str) -> Self {
        if !self.tag_fields.iter().any(|n| n == name) {
            self.tag_fields.push(name.into());
        }
        self
    }

    /// Counts events, too, in `log.events`, by their `level` and `target`.
    pub fn count_events(mut self) -> Self {
        self.count_events = true;
        self
    }

    /// The layer, for `.with(…)` of a subscriber.
    ///
    /// It has a filter of its own, so that it does not make other layers see more or less than they asked for.
    ///
    /// # Errors
    /// When a level's label cannot be used, or a field cannot be a tag.
    pub fn build<S>(self) -> Result<Filtered<SpanLayer, SpanFilter, S>, BridgeError>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let shared = Arc::new(self.shared()?);
        Ok(SpanLayer::new(shared.clone()).with_filter(SpanFilter::new(shared)))
    }

    /// The layer without a filter, for subscribers that have one filter for all layers. It measures what it is told
    /// to, but whatever it does not want is made all the same, unless that filter leaves it out.
    ///
    /// # Errors
    /// When a level's label cannot be used, or a field cannot be a tag.
    pub fn build_unfiltered(self) -> Result<SpanLayer, BridgeError> {
        Ok(SpanLayer::new(Arc::new(self.shared()?)))
    }

    fn shared(self) -> Result<Shared, BridgeError> {
        if self.tag_fields.len() > limits::TAGS {
            return Err(BridgeError::TooManyTags { limit: limits::TAGS });
        }
        if let Some((name, why)) =
            self.tag_fields.iter().find_map(|name| check_name(name).err().map(|why| (name.clone(), why)))
        {
            return Err(BridgeError::Field { name, why });
        }
        Ok(Shared {
            rules: self.rules.checked()?,
            max_level: self.max_level,
            timed: self.timed,
            tag_fields: self.tag_fields,
            count_events: self.count_events,
            sites: Sites::new(),
        })
    }
}
