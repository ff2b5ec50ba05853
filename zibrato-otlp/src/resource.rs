//! Where something was measured, as a resource.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use zibrato_worker::Series;

use crate::options::Options;

const SERVICE_NAME: &str = "service.name";
const SERVICE_INSTANCE: &str = "service.instance.id";
/// What OpenTelemetry's conventions have for a service whose name nobody has told.
const UNKNOWN: &str = "unknown_service:zibrato";

/// What makes resources of series.
#[derive(Debug, Clone)]
pub(crate) struct Resources {
    /// The same for all.
    fixed: Vec<(String, String)>,
    source_attribute: String,
    /// The tag that says which start of which program it was.
    instance_tag: Option<String>,
}

/// What tells resources apart: source and instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place<'a> {
    source: &'a str,
    instance: Option<&'a str>,
}

impl Resources {
    pub(crate) fn new(options: &Options, instance_tag: Option<&str>) -> Resources {
        let mut fixed: Vec<(String, String)> = Vec::new();
        let mut add = |name: &str, value: &str| {
            // What was given for it alone counts more than what is in a list.
            if name != options.source_attribute && fixed.iter().all(|(taken, _)| taken != name) {
                fixed.push((name.into(), value.into()));
            }
        };
        if let Some(name) = &options.service_name {
            add(SERVICE_NAME, name);
        }
        options.resource.iter().for_each(|attribute| add(&attribute.name, &attribute.value));
        add(SERVICE_NAME, UNKNOWN);
        Resources {
            fixed,
            source_attribute: options.source_attribute.clone(),
            instance_tag: instance_tag.map(str::to_owned),
        }
    }

    /// Where a series was measured.
    pub(crate) fn place<'a>(&self, series: &'a Series) -> Place<'a> {
        let instance = series.tags.iter().find(|(name, _)| self.is_instance(name));
        Place { source: &series.source, instance: instance.map(|(_, value)| value.as_str()) }
    }

    /// The resource of a place.
    pub(crate) fn resource(&self, place: &Place<'_>) -> Resource {
        let source = (!place.source.is_empty()).then_some((&*self.source_attribute, place.source));
        let instance = place.instance.map(|instance| (SERVICE_INSTANCE, instance));
        let mut all: Vec<(&str, &str)> = source.into_iter().chain(instance).collect();
        for (name, value) in &self.fixed {
            if all.iter().all(|(taken, _)| taken != name) {
                all.push((name, value));
            }
        }
        all.sort_unstable();
        Resource {
            attributes: all.into_iter().map(|(name, value)| attribute(name, value)).collect(),
            ..Resource::default()
        }
    }

    /// The attributes of a series, sorted by name: its tags, but for what its resource has.
    pub(crate) fn attributes(&self, series: &Series) -> Vec<KeyValue> {
        let own = series.tags.iter().filter(|(name, _)| !self.is_instance(name));
        own.map(|(name, value)| attribute(name, value)).collect()
    }

    fn is_instance(&self, name: &str) -> bool {
        self.instance_tag.as_deref() == Some(name)
    }
}

fn attribute(name: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.into())) };
    KeyValue { key: name.into(), value: Some(value), ..KeyValue::default() }
}

/// The value of an attribute that was made here.
pub(crate) fn text_of(attribute: &KeyValue) -> &str {
    match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text,
        _ => "",
    }
}
