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
    /// Takes over what was recorded later.
    pub(super) fn merge(&mut self, later: Fields) {
        later.0.into_iter().for_each(|(name, value)| self.set(name, value));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn set(&mut self, name: &'static str, value: String) {
        match self.0.iter_mut().find(|(n, _)| *n == name) {
            Some((_, before)) => *before = value,
            None => self.0.push((name, value)),
        }
    }

    /// Names and values; a value that is empty is no tag.
    pub(super) fn tags(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str())).filter(|(_, value)| !value.is_empty())
    }
}

impl Collect<'_> {
    fn take(&mut self, field: &Field, value: impl FnOnce() -> String) {
        if self.wanted.iter().any(|name| name == field.name()) {
            self.fields.set(field.name(), value());
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
