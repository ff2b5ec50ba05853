//! What a name is made of.

use std::str::FromStr;

/// A text with places for the metric's name and source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(String);

const NAME: &str = "{name}";
const SOURCE: &str = "{source}";

impl Template {
    pub(crate) fn name() -> Self {
        Template(NAME.to_owned())
    }

    pub(crate) fn source_and_name() -> Self {
        Template(format!("{SOURCE}.{NAME}"))
    }

    pub(crate) fn has_source(&self) -> bool {
        self.0.contains(SOURCE)
    }

    /// The text with these in their places; parts between dots that are empty then are left out.
    pub(crate) fn fill(&self, name: &str, source: &str) -> String {
        // The source comes first, because it cannot have braces when it is clean; a name neither.
        let text = self.0.replace(SOURCE, source).replace(NAME, name);
        text.split('.').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
    }
}

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadTemplate(String);

impl std::fmt::Display for BadTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadTemplate {}

impl FromStr for Template {
    type Err = BadTemplate;

    fn from_str(text: &str) -> Result<Self, BadTemplate> {
        let rest = text.replace(SOURCE, "").replace(NAME, "");
        if !text.contains(NAME) {
            return Err(BadTemplate("it has no {name} in it, so that all metrics would be one".to_owned()));
        }
        match rest.chars().find(|&c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
            Some(odd) => Err(BadTemplate(format!("{odd:?} cannot be in names; letters, digits and ._- can"))),
            None => Ok(Template(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_and_checked() {
        let template: Template = "prod.{source}.app.{name}".parse().unwrap();
        assert!(template.has_source());
        assert_eq!(template.fill("hits", "web1"), "prod.web1.app.hits");
        assert_eq!(template.fill("hits", ""), "prod.app.hits");
        for bad in ["", "{source}", "a:{name}", "{name}|", "{tags}{name}", "a b.{name}"] {
            assert!(bad.parse::<Template>().is_err(), "{bad}");
        }
    }
}
