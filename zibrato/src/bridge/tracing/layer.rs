use std::sync::Arc;

use tracing_core::span::{Attributes, Id, Record};
use tracing_core::subscriber::Interest;
use tracing_core::{Event, LevelFilter, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;

use super::fields::{Collect, Fields};
use super::sites::{Site, Sites, level_by};
use super::timing::{Timed, Timing};
use crate::bridge::rules::Rules;

/// What a layer and its filter go by.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) rules: Rules,
    pub(super) max_level: LevelFilter,
    pub(super) timed: Timed,
    pub(super) tag_fields: Vec<String>,
    pub(super) count_events: bool,
    pub(super) sites: Sites,
}

impl Shared {
    /// What is known of a span or event, where it is to be measured.
    fn wanted(&self, metadata: &Metadata<'_>) -> Option<&Site> {
        let is_of_kind = metadata.is_span() || (self.count_events && metadata.is_event());
        if !is_of_kind || *metadata.level() > self.max_level {
            return None;
        }
        self.sites.get(metadata, &self.rules, &self.tag_fields).filter(|site| site.is_wanted())
    }
}

/// Times spans and counts events; see the [module](crate::bridge::tracing).
#[derive(Debug)]
pub struct SpanLayer {
    shared: Arc<Shared>,
}

/// Lets through to a [`SpanLayer`] what that one wants.
#[derive(Debug)]
pub struct SpanFilter {
    shared: Arc<Shared>,
}

/// What the layers of this kind know of one span. There is hardly ever more than one of them.
#[derive(Debug)]
struct Open {
    first: OpenIn,
    others: Vec<OpenIn>,
}

#[derive(Debug)]
struct OpenIn {
    /// Tells the layers apart.
    layer: usize,
    timing: Timing,
    fields: Fields,
}

impl Open {
    fn of(&mut self, layer: usize) -> Option<&mut OpenIn> {
        std::iter::once(&mut self.first).chain(&mut self.others).find(|open| open.layer == layer)
    }
}

impl SpanLayer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        SpanLayer { shared }
    }

    fn number(&self) -> usize {
        Arc::as_ptr(&self.shared) as usize
    }

    fn with_open<S>(
        &self,
        id: &Id,
        context: &Context<'_, S>,
        work: impl FnOnce(&mut OpenIn, &'static Metadata<'static>),
    ) where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        if let Some(span) = context.span(id)
            && let Some(open) = span.extensions_mut().get_mut::<Open>().and_then(|o| o.of(self.number()))
        {
            work(open, span.metadata());
        }
    }
}

impl<S> Layer<S> for SpanLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(site) = self.shared.wanted(attributes.metadata()) else { return };
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        if site.has_tags {
            attributes.record(&mut Collect { wanted: &self.shared.tag_fields, fields: &mut fields });
        }
        let mut extensions = span.extensions_mut();
        let open = OpenIn { layer: self.number(), timing: Timing::new(self.shared.timed), fields };
        match extensions.get_mut::<Open>() {
            Some(others) => others.others.push(open),
            None => drop(extensions.replace(Open { first: open, others: Vec::new() })),
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if self.shared.tag_fields.is_empty() {
            return;
        }
        // Before the span's extensions are locked: a value that is formatted may itself come here.
        let mut fields = Fields::default();
        values.record(&mut Collect { wanted: &self.shared.tag_fields, fields: &mut fields });
        if !fields.is_empty() {
            self.with_open(id, &context, |open, _| open.fields.merge(fields));
        }
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        if self.shared.timed != Timed::Life {
            self.with_open(id, &context, |open, _| open.timing.enter());
        }
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        if self.shared.timed != Timed::Life {
            self.with_open(id, &context, |open, _| open.timing.exit());
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.with_open(&id, &context, |open, metadata| {
            if let Some(nanos) = open.timing.close()
                && let Some(site) = self.shared.wanted(metadata)
            {
                site.record(nanos, &open.fields);
            }
        });
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if self.shared.count_events
            && let Some(site) = self.shared.wanted(event.metadata())
        {
            site.count(event.metadata());
        }
    }
}

impl SpanFilter {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        SpanFilter { shared }
    }
}

impl<S> Filter<S> for SpanFilter {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        if metadata.is_event() {
            // Those that come from `log` share their call sites, whatever their targets are.
            return self.shared.count_events
                && *metadata.level() <= self.shared.max_level
                && level_by(&self.shared.rules, metadata).is_some();
        }
        self.shared.wanted(metadata).is_some()
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.shared.wanted(metadata).is_some() { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.shared.max_level)
    }
}
