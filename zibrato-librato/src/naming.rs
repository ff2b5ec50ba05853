//! Names, sources and tags as Librato stores them.
//!
//! Everything is lower-cased, because Librato tells no cases apart: two spellings are one series there, so they are
//! added up here. What it does not take becomes `:`; what is too long keeps its beginning and a hash of all of it.

use zibrato_worker::{Kind, Series};

use crate::Api;

const MOST: usize = 255;
const MOST_TAG_NAME: usize = 64;
const MOST_TAGS: usize = 50;
/// The tag that carries the source.
pub(crate) const SOURCE_TAG: &str = "source";

/// Changes a series to what is stored.
///
/// # Errors
/// Why it cannot be.
pub(crate) fn clean(series: &mut Series, api: Api, kind_suffix: bool) -> Result<(), String> {
    if series.name.is_empty() {
        return Err("its name is empty".into());
    }
    let suffix = if kind_suffix { format!(".{}", series.kind.name()) } else { String::new() };
    series.name = fit(&(clean_text(&series.name, is_name) + &suffix), MOST);
    // Both are stored as values that add up.
    if series.kind == Kind::Updown && !kind_suffix {
        series.kind = Kind::Counter;
    }
    match api {
        Api::Metrics => {
            let tags = std::mem::take(&mut series.tags);
            let source = tags.iter().fold(series.source.clone(), |source, (name, value)| {
                let between = if source.is_empty() { "" } else { ":" };
                format!("{source}{between}{name}-{value}")
            });
            series.source = fit(&clean_text(&source, is_name), MOST);
            if series.source == "all" {
                series.source.push('_');
            }
        }
        Api::Measurements => {
            series.source = fit(&clean_text(&series.source, is_tag_value), MOST);
            series.tags = clean_tags(&series.tags);
            let most = MOST_TAGS - usize::from(!series.source.is_empty());
            if series.tags.len() > most {
                return Err(format!("it has {} tags, and the service takes {most}", series.tags.len()));
            }
        }
    }
    Ok(())
}

fn clean_tags(tags: &[(String, String)]) -> Vec<(String, String)> {
    let mut cleaned: Vec<(String, String)> = Vec::with_capacity(tags.len());
    for (name, value) in tags.iter().filter(|(name, value)| !name.is_empty() && !value.is_empty()) {
        let mut name = fit(&clean_text(name, is_name), MOST_TAG_NAME);
        if name == SOURCE_TAG {
            name = format!("tag_{SOURCE_TAG}");
        }
        let plain = name.clone();
        let mut number = 2;
        while cleaned.iter().any(|(taken, _)| *taken == name) {
            name = fit(&format!("{plain}_{number}"), MOST_TAG_NAME);
            number += 1;
        }
        cleaned.push((name, fit(&clean_text(value, is_tag_value), MOST)));
    }
    cleaned.sort();
    cleaned
}

fn clean_text(text: &str, allowed: fn(char) -> bool) -> String {
    text.chars().map(|c| if allowed(c) { c.to_ascii_lowercase() } else { ':' }).collect()
}

/// Shortens an ASCII text; different texts stay different.
fn fit(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let hash = format!("-{:016x}", fnv_1a(text.as_bytes()));
    let kept: String = text.chars().take(most - hash.len()).collect();
    kept + &hash
}

/// A hash that is the same on every machine and in every version, because it becomes part of stored names.
pub(crate) fn fnv_1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '_')
}

fn is_tag_value(c: char) -> bool {
    is_name(c) || matches!(c, '?' | '\\' | '/' | ' ')
}
