//! Names, sources and tags as Graphite's paths take them.

use zibrato_worker::{Kind, Series};

use crate::options::{Options, Tags};

/// Changes a series to what is stored.
///
/// # Errors
/// Why it cannot be.
pub(crate) fn clean(series: &mut Series, options: &Options) -> Result<(), String> {
    let name = path(&series.name);
    if name.is_empty() {
        return Err("its name is empty".into());
    }
    let (tags, source) = (std::mem::take(&mut series.tags), std::mem::take(&mut series.source));
    let template = options.template();
    let filled = template.replace("{source}", &node(&source)).replace("{name}", &name);
    series.name = path(&filled);
    match options.tags {
        Tags::Path => {
            let nodes = tags.iter().map(|(name, value)| format!(".{}_{}", node(name), node(value)));
            series.name.extend(nodes);
        }
        Tags::Series => {
            if !template.contains("{source}") && !source.is_empty() {
                series.tags.push(("source".into(), value(&source)));
            }
            for (name, own) in &tags {
                let name = node(name);
                // Different names stay different; `name` is Graphite's own.
                let is_taken = name == "name" || series.tags.iter().any(|(taken, _)| *taken == name);
                let name = if is_taken { format!("{name}_{}", series.tags.len() + 1) } else { name };
                series.tags.push((name, value(own)));
            }
            series.tags.sort();
        }
    }
    // Both are stored as changes that add up.
    if series.kind == Kind::Updown {
        series.kind = Kind::Counter;
    }
    Ok(())
}

/// Nodes with dots between them, none of them empty: `::` becomes a dot, too.
fn path(text: &str) -> String {
    let nodes = text.split("::").flat_map(|part| part.split('.')).filter(|part| !part.is_empty());
    nodes.map(node).collect::<Vec<_>>().join(".")
}

/// One node of a path: what is no letter, digit, `_` or `-` becomes `_`.
fn node(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' }).collect()
}

/// The value of a tag: dots and slashes may stay there.
fn value(text: &str) -> String {
    let stays = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':');
    text.chars().map(|c| if stays(c) { c } else { '_' }).collect()
}
