//! What a worker leaves out, renames and adds, before its backend sees a series.

use std::str::FromStr;

use regex::Regex;
use zibrato_core::frame::InstanceId;
use zibrato_core::limits;

use crate::batch::Series;

/// Whether `*` (any text) and `?` (one character) of a pattern stand for the rest of a name.
#[derive(Debug, Clone)]
struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    fn new(text: &str) -> Result<Pattern, String> {
        let mut regex = String::from("^");
        for character in text.chars() {
            match character {
                '*' => regex.push_str("(.*?)"),
                '?' => regex.push_str("(.)"),
                other => regex.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
            }
        }
        regex.push('$');
        let regex =
            Regex::new(&format!("(?s){regex}")).map_err(|why| format!("{text:?} is no pattern: {why}"))?;
        Ok(Pattern { text: text.into(), regex })
    }

    fn wildcards(&self) -> usize {
        self.regex.captures_len() - 1
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// Which series are meant: `NAME`, `NAME{tag=VALUE,...}` or `{tag=VALUE,...}`, where `*` and `?` in a name or value
/// stand for any text and any character, and the tag `source` is the series' source.
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    name: Option<Pattern>,
    tags: Vec<(String, Pattern)>,
}

impl Selector {
    /// Whether it means a series, as it was measured.
    pub fn matches(&self, series: &Series) -> bool {
        let value = |wanted: &str| match wanted {
            "source" => Some(&*series.source),
            _ => series.tags.iter().find(|(name, _)| name == wanted).map(|(_, value)| &**value),
        };
        self.name.as_ref().is_none_or(|name| name.regex.is_match(&series.name))
            && self.tags.iter().all(|(name, wanted)| value(name).is_some_and(|v| wanted.regex.is_match(v)))
    }
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |why: &str| format!("{why}; write NAME, NAME{{TAG=VALUE,...}} or {{TAG=VALUE,...}}");
        let text = text.trim();
        let (name, tags) = match text.split_once('{') {
            Some((name, tags)) => {
                (name.trim(), Some(tags.strip_suffix('}').ok_or_else(|| bad("a } is missing at its end"))?))
            }
            None => (text, None),
        };
        if name.is_empty() && tags.is_none() {
            return Err(bad("it is empty"));
        }
        let tags = tags.unwrap_or_default().split(',').filter(|pair| !pair.trim().is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').ok_or_else(|| bad(&format!("{pair:?} has no =")))?;
            Ok((name.trim().to_string(), Pattern::new(value.trim())?))
        });
        Ok(Selector {
            tags: tags.collect::<Result<_, String>>()?,
            name: if name.is_empty() { None } else { Some(Pattern::new(name)?) },
        })
    }
}

/// Another name for some series: `FROM=TO`. What the first `*` or `?` of FROM stands for comes in the place of the
/// first `*` of TO, and so on.
#[derive(Debug, Clone, PartialEq)]
pub struct Rename {
    from: Pattern,
    to: String,
}

impl Rename {
    /// The new name, where it means this one, and leaves one that may be.
    fn apply(&self, name: &str) -> Option<String> {
        let found = self.from.regex.captures(name)?;
        let mut stars = found.iter().skip(1).flatten();
        let put = |part: &str| match part {
            "*" => stars.next().map_or("", |star| star.as_str()).to_string(),
            text => text.to_string(),
        };
        let new: String = self.to.split_inclusive('*').flat_map(split_star).map(put).collect();
        limits::check_name(&new).is_ok().then_some(new)
    }
}

/// `web.*` as `web.` and `*`.
fn split_star(part: &str) -> impl Iterator<Item = &str> {
    let (text, star) = part.split_at(part.len() - usize::from(part.ends_with('*')));
    [text, star].into_iter().filter(|part| !part.is_empty())
}

impl FromStr for Rename {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text
            .split_once('=')
            .ok_or_else(|| format!("{text:?} has no =; write FROM=TO, as in web.*=site.*"))?;
        let (from, to) = (Pattern::new(from.trim())?, to.trim().to_string());
        if from.text.is_empty() || to.is_empty() {
            return Err(format!("{text:?} lacks a name; write FROM=TO, as in web.*=site.*"));
        }
        if to.matches('*').count() > from.wildcards() {
            return Err(format!("{to:?} has more * than {:?} has * and ?", from.text));
        }
        Ok(Rename { from, to })
    }
}

/// A tag for all series: `NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedTag {
    name: String,
    value: String,
}

impl FromStr for AddedTag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| format!("{text:?} has no =; write NAME=VALUE, as in env=prod"))?;
        let (name, value) = (name.trim(), value.trim());
        for part in [name, value] {
            limits::check_name(part).map_err(|why| format!("{part:?} cannot be part of a tag: {why}"))?;
        }
        Ok(AddedTag { name: name.into(), value: value.into() })
    }
}

/// What becomes of series before the backend sees them. The default changes nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Shape {
    /// Only these, where there are any.
    pub keep: Vec<Selector>,
    /// Not these, also where they are to be kept.
    pub drop: Vec<Selector>,
    /// The first that means a name changes it.
    pub rename: Vec<Rename>,
    /// Added where a series has no tag of the name.
    pub tags: Vec<AddedTag>,
    /// The name of a tag that says which instance, of a process, has measured. Each start of a program then makes
    /// series of its own.
    pub instance_tag: Option<String>,
}

impl Shape {
    /// Changes a series as it was measured; false if it is left out.
    pub fn apply(&self, series: &mut Series, instance: Option<InstanceId>) -> bool {
        let kept = self.keep.is_empty() || self.keep.iter().any(|selector| selector.matches(series));
        if !kept || self.drop.iter().any(|selector| selector.matches(series)) {
            return false;
        }
        if let Some(name) = self.rename.iter().find_map(|rename| rename.apply(&series.name)) {
            series.name = name;
        }
        let instance = self.instance_tag.as_ref().zip(instance);
        let instance = instance.map(|(name, instance)| (name.clone(), instance.to_string()));
        let tags = self.tags.iter().map(|tag| (tag.name.clone(), tag.value.clone()));
        for (name, value) in tags.chain(instance) {
            if !series.tags.iter().any(|(own, _)| *own == name) {
                series.tags.push((name, value));
            }
        }
        series.tags.sort();
        true
    }
}

#[cfg(test)]
mod tests {
    use zibrato_core::frame::Kind;

    use super::*;

    fn series(name: &str, tags: &[(&str, &str)]) -> Series {
        let tags = tags.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        Series { name: name.into(), source: "web-1".into(), tags, kind: Kind::Counter }
    }

    fn means(selector: &str, series: &Series) -> bool {
        selector.parse::<Selector>().unwrap().matches(series)
    }

    #[test]
    fn selectors_mean_names_and_tags() {
        let requests = series("web.requests", &[("method", "GET"), ("path", "/a{b}")]);
        for yes in [
            "web.*",
            "web.requests",
            "*",
            "web.request?",
            "*{method=GET}",
            "{method=G*}",
            "{source=web-?}",
            "web.*{ method=*, path=/a* }",
            "{}",
        ] {
            assert!(means(yes, &requests), "{yes}");
        }
        for no in
            ["web", "web?", "requests", "{method=POST}", "{host=*}", "web.*{source=db*}", "WEB.*", "web.x*"]
        {
            assert!(!means(no, &requests), "{no}");
        }
        assert!(means("a.b", &series("a.b", &[])) && !means("a.b", &series("axb", &[])));
        for bad in ["", "  ", "a{b=c", "a{b}"] {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
    }

    #[test]
    fn renames_carry_over_what_stars_stood_for() {
        let renamed = |rename: &str, name: &str| rename.parse::<Rename>().unwrap().apply(name);
        assert_eq!(renamed("web.*=site.*", "web.requests.ok").as_deref(), Some("site.requests.ok"));
        assert_eq!(renamed("*.*=*_*", "a.b.c").as_deref(), Some("a_b.c"));
        assert_eq!(renamed("*.count=count", "a.count").as_deref(), Some("count"));
        assert_eq!(renamed("a?b=*", "a:b").as_deref(), Some(":"));
        assert_eq!(renamed("web.*=site.*", "webs.x"), None);
        assert_eq!(renamed("a*=*", "a"), None, "a name cannot be empty");
        assert_eq!(renamed(&format!("*={}*", "x".repeat(250)), "too long"), None);
        for bad in ["a", "=b", "a=", "a=*", "a*=**"] {
            assert!(bad.parse::<Rename>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_shape_leaves_out_renames_and_adds() {
        let shape = Shape {
            keep: vec!["web.*".parse().unwrap(), "db.*".parse().unwrap()],
            drop: vec!["{path=/health}".parse().unwrap()],
            rename: vec!["web.*=site.*".parse().unwrap(), "*=never".parse().unwrap()],
            tags: vec!["env=prod".parse().unwrap(), "method=added".parse().unwrap()],
            instance_tag: Some("instance".into()),
        };
        let shaped = |mut series: Series| {
            shape.apply(&mut series, Some(InstanceId([1; 16]))).then_some((series.name, series.tags))
        };
        let (name, tags) = shaped(series("web.requests", &[("method", "GET")])).unwrap();
        assert_eq!(name, "site.requests");
        let tags: Vec<String> = tags.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let instance = format!("instance={}", InstanceId([1; 16]));
        assert_eq!(tags, ["env=prod", &instance, "method=GET"]);
        assert_eq!(shaped(series("web.requests", &[("path", "/health")])), None);
        assert_eq!(shaped(series("cache.hits", &[])), None);
        assert!("=x".parse::<AddedTag>().is_err() && "x".parse::<AddedTag>().is_err());
    }
}
