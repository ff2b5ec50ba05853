//! Names, sources and tags as daemons take them, whatever the metric is called.

use zibrato_worker::{Kind, Series};

use crate::options::{Dialect, Options, Updown};

/// The tag that carries the source.
const SOURCE_TAG: &str = "source";

/// Changes a series to what is sent: the name has all that goes into the path, and the tags are those that are written
/// as tags, the source among them.
///
/// # Errors
/// Why it cannot be sent.
pub(crate) fn clean(series: &mut Series, options: &Options) -> Result<(), String> {
    let template = options.template();
    let name = path(&series.name);
    if name.is_empty() {
        return Err("its name is empty".into());
    }
    let (tags, source) = (std::mem::take(&mut series.tags), std::mem::take(&mut series.source));
    series.name = template.fill(&name, &segment(&source));
    if options.dialect == Dialect::Statsd {
        for (name, value) in &tags {
            series.name += &format!(".{}_{}", segment(name), segment(value));
        }
    } else {
        let source = if template.has_source() { "" } else { source.as_str() };
        series.tags = clean_tags(&tags, source, options.dialect);
    }
    if series.kind == Kind::Updown && options.updown() == Updown::Counter {
        series.kind = Kind::Counter;
    }
    Ok(())
}

/// A name: `::` becomes a dot, parts between dots are not empty, and all else that is no letter, digit, `_` or `-`
/// becomes `_`.
fn path(name: &str) -> String {
    let parts = name.split("::").flat_map(|part| part.split('.'));
    parts.filter(|part| !part.is_empty()).map(segment).collect::<Vec<_>>().join(".")
}

/// What is one part of a path.
fn segment(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' }).collect()
}

fn clean_tags(tags: &[(String, String)], source: &str, dialect: Dialect) -> Vec<(String, String)> {
    let mut cleaned: Vec<(String, String)> = Vec::with_capacity(tags.len() + 1);
    if !source.is_empty() {
        cleaned.push((SOURCE_TAG.to_owned(), tag(source, dialect)));
    }
    for (name, value) in tags.iter().filter(|(name, value)| !name.is_empty() && !value.is_empty()) {
        let plain: String = tag(name, Dialect::Graphite);
        let mut name = plain.clone();
        let mut number = 2;
        // Different names stay different, also from the source's.
        while cleaned.iter().any(|(taken, _)| *taken == name) {
            name = format!("{plain}_{number}");
            number += 1;
        }
        cleaned.push((name, tag(value, dialect)));
    }
    cleaned.sort();
    cleaned
}

/// What no dialect gives a meaning stays, and so does a colon in Datadog's values.
fn tag(text: &str, dialect: Dialect) -> String {
    let stays = |c: char| {
        c.is_ascii_alphanumeric()
            || matches!(c, '_' | '-' | '.' | '/')
            || (c == ':' && dialect == Dialect::Dogstatsd)
    };
    text.chars().map(|c| if stays(c) { c } else { '_' }).collect()
}

/// What comes around values: tags after the name, or at the end.
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) name: String,
    pub(crate) head: String,
    pub(crate) tail: String,
}

impl Form {
    /// The form of a clean series.
    pub(crate) fn new(series: &Series, dialect: Dialect) -> Form {
        let pairs = |between: &str, join: &str| {
            let pairs = series.tags.iter().map(|(name, value)| format!("{name}{between}{value}"));
            pairs.collect::<Vec<_>>().join(join)
        };
        let (head, tail) = match dialect {
            _ if series.tags.is_empty() => (String::new(), String::new()),
            Dialect::Statsd => (String::new(), String::new()),
            Dialect::Dogstatsd => (String::new(), format!("|#{}", pairs(":", ","))),
            Dialect::Influx => (format!(",{}", pairs("=", ",")), String::new()),
            Dialect::Graphite => (format!(";{}", pairs("=", ";")), String::new()),
            Dialect::Librato => (format!("#{}", pairs("=", ",")), String::new()),
        };
        Form { name: series.name.clone(), head, tail }
    }
}
