use zibrato_core::limits::check_level;

use super::BridgeError;

/// Which level a metric or a span gets, by its target and its name.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    rules: Vec<Rule>,
    default: Option<String>,
    bad: Option<BridgeError>,
}

#[derive(Debug, Clone)]
struct Rule {
    by: By,
    pattern: String,
    /// `None` is for what is not to be measured.
    level: Option<String>,
}

/// What a rule's pattern is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// Where it is in the program.
    Target,
    /// What it is called.
    Name,
}

impl Rules {
    pub(super) fn add(&mut self, by: By, pattern: &str, level: Option<&str>) {
        self.check(level);
        self.rules.push(Rule { by, pattern: pattern.into(), level: level.map(String::from) });
    }

    pub(super) fn set_default(&mut self, level: &str) {
        self.check(Some(level));
        self.default = Some(level.into());
    }

    fn check(&mut self, level: Option<&str>) {
        if let Some(label) = level
            && let Err(why) = check_level(label)
        {
            self.bad.get_or_insert(BridgeError::Level { label: label.into(), why });
        }
    }

    /// The rules, if all their levels can be used.
    pub(super) fn checked(self) -> Result<Self, BridgeError> {
        match self.bad {
            Some(bad) => Err(bad),
            None => Ok(self),
        }
    }

    /// The level of what says itself that it is at level `own`; `None` for what is not to be measured.
    pub(super) fn level<'a>(&'a self, target: &str, name: Option<&str>, own: &'a str) -> Option<&'a str> {
        let holds = |rule: &&Rule| match rule.by {
            By::Target => target_matches(&rule.pattern, target),
            By::Name => name.is_some_and(|name| matches(&rule.pattern, name)),
        };
        match self.rules.iter().rev().find(holds) {
            Some(rule) => rule.level.as_deref(),
            None => Some(self.default.as_deref().unwrap_or(own)),
        }
    }
}

/// `hyper::*` is for the module `hyper` itself, too.
fn target_matches(pattern: &str, target: &str) -> bool {
    matches(pattern, target) || pattern.strip_suffix("::*").is_some_and(|module| matches(module, target))
}

/// Whether the whole text matches; `*` stands for any characters, also none.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut parts = rest.split('*').collect::<Vec<_>>();
    // A split has at least one part.
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        match text.split_once(part) {
            Some((_, after)) => text = after,
            None => return false,
        }
    }
    text.ends_with(end)
}

/// The methods of a builder that fill its field `rules`.
macro_rules! rule_methods {
    ($what:literal, $named:literal) => {
        #[doc = concat!("The level at which ", $what, " are measured whose target matches.")]
        pub fn level(mut self, target: &str, level: &str) -> Self {
            self.rules.add(By::Target, target, Some(level));
            self
        }

        #[doc = concat!("The level at which ", $named, " are measured whose name matches.")]
        pub fn name_level(mut self, name: &str, level: &str) -> Self {
            self.rules.add(By::Name, name, Some(level));
            self
        }

        #[doc = concat!("Does not measure ", $what, " whose target matches.")]
        pub fn ignore(mut self, target: &str) -> Self {
            self.rules.add(By::Target, target, None);
            self
        }

        #[doc = concat!("Does not measure ", $named, " whose name matches.")]
        pub fn ignore_name(mut self, name: &str) -> Self {
            self.rules.add(By::Name, name, None);
            self
        }

        /// The level at which everything is measured for which there is no rule, instead of its own.
        pub fn default_level(mut self, level: &str) -> Self {
            self.rules.set_default(level);
            self
        }
    };
}
pub(super) use rule_methods;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, text) in [
            ("a", "a"),
            ("*", ""),
            ("*", "anything"),
            ("db.*", "db.queries"),
            ("*.queries", "db.queries"),
            ("a*b*c", "a-b-b-c"),
            ("a*a", "aa"),
            ("**", "x"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("a", "b"),
            ("a", "ab"),
            ("db.*", "dbx"),
            ("a*a", "a"),
            ("a*b*c", "acb"),
            ("", "a"),
            ("*a*", "b"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_module_belongs_to_what_is_in_it() {
        assert!(target_matches("hyper::*", "hyper"));
        assert!(target_matches("hyper::*", "hyper::client"));
        assert!(!target_matches("hyper::*", "hyper_util"));
    }

    #[test]
    fn the_last_rule_that_matches_wins() {
        let mut rules = Rules::default();
        rules.add(By::Target, "sqlx::*", Some("debug"));
        rules.add(By::Name, "pool.*", Some("trace"));
        rules.add(By::Name, "pool.secret", None);
        assert_eq!(rules.level("sqlx::query", Some("queries"), "info"), Some("debug"));
        assert_eq!(rules.level("sqlx", Some("pool.open"), "info"), Some("trace"));
        assert_eq!(rules.level("sqlx", Some("pool.secret"), "info"), None);
        assert_eq!(rules.level("app", Some("requests"), "warn"), Some("warn"));
        assert_eq!(rules.level("sqlx", None, "info"), Some("debug"));
        rules.set_default("info");
        assert_eq!(rules.level("app", Some("requests"), "warn"), Some("info"));
    }

    #[test]
    fn a_level_that_cannot_be_used_is_told() {
        let mut rules = Rules::default();
        rules.add(By::Target, "a", Some("x|y"));
        rules.set_default("");
        let told = rules.checked().map(drop).unwrap_err().to_string();
        assert_eq!(told, "use level \"x|y\": name contains '|', which is not allowed");
    }
}
