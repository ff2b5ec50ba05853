/// Patterns of metric names, of which one has to match: `*` stands for any characters, `?` for any one.
///
/// Written as a comma-separated list, `db.*,http.request`; blanks around commas do not count.
///
/// ```
/// use zibrato_core::trace::Patterns;
/// let patterns = Patterns::from("db.*, http.?equest");
/// assert!(patterns.match_name("db.query") && patterns.match_name("http.request"));
/// assert!(!patterns.match_name("db") && Patterns::default().is_empty());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns(Vec<Vec<char>>);

impl Patterns {
    /// None, so that nothing matches.
    pub const NONE: Patterns = Patterns(Vec::new());

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them matches the whole of a name.
    pub fn match_name(&self, name: &str) -> bool {
        if self.is_empty() {
            return false;
        }
        let name: Vec<char> = name.chars().collect();
        self.0.iter().any(|pattern| is_match(pattern, &name))
    }
}

impl From<&str> for Patterns {
    fn from(list: &str) -> Self {
        let patterns = list.split(',').map(str::trim).filter(|pattern| !pattern.is_empty());
        Patterns(patterns.map(|pattern| pattern.chars().collect()).collect())
    }
}

/// Goes back to the last star only, so that it takes no longer than one length times the other.
fn is_match(pattern: &[char], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star = None;
    while let Some(c) = name.get(n) {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(wanted) if *wanted == '?' || wanted == c => (p, n) = (p + 1, n + 1),
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                (p, n) = (at + 1, from + 1);
            }
        }
    }
    pattern[p..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_characters_and_question_marks_for_one() {
        let matching = [
            ("*", "a"),
            ("a*", "a"),
            ("*c", "abc"),
            ("a*b*c", "axxbyc"),
            ("?b*", "ab"),
            ("ä?", "äö"),
            ("**", "x"),
        ];
        for (pattern, name) in matching {
            assert!(Patterns::from(pattern).match_name(name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("a", "ab"), ("a*b", "abc"), ("?", "ab"), ("", "a"), ("a*b*c", "acb"), (",", "x")]
        {
            assert!(!Patterns::from(pattern).match_name(name), "{pattern} {name}");
        }
        let slow = format!("{}b", "*a".repeat(120));
        assert!(!Patterns::from(slow.as_str()).match_name(&"a".repeat(255)));
    }
}
