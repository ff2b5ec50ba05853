use std::fmt::Debug;

use tracing_core::Field;
use tracing_core::field::Visit;

/// The values of a span's fields that become tags.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(&'static str, String)>);

/// Takes down the fields that are wanted.
pub(super) struct Collect<'a> {
    pub(super) wanted: &'a [String],
    pub(super) fields: &'a mut Fields,
}

impl Fields {
    /// Names and values; a value that is empty is no tag.
    pub(super) fn tags(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str())).filter(|(_, value)| !value.is_empty())
    }
}

impl Collect<'_> {
    fn take(&mut self, field: &Field, value: impl FnOnce() -> String) {
        if !self.wanted.iter().any(|name| name == field.name()) {
            return;
        }
        match self.fields.0.iter_mut().find(|(name, _)| *name == field.name()) {
            // Recorded again.
            Some((_, before)) => *before = value(),
            None => self.fields.0.push((field.name(), value())),
        }
    }
}

impl Visit for Collect<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.take(field, || format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, || value.into());
    }
}
