//! The limits on what an attribute names, checked while compiling.
//!
//! They repeat those of zibrato-core: depending on it would build it a second time for every user of the
//! macros. A test compares the two.

/// Longest metric name, source, tag name or tag value, in bytes.
const NAME: usize = 255;
/// Longest level label, in bytes.
const LEVEL: usize = 32;
/// Most tags of one metric.
pub(crate) const TAGS: usize = 16;
/// The level that the protocol uses itself.
const BEAT: &str = "beat";

/// What is wrong with a metric name, source, tag name or tag value.
pub(crate) fn name(text: &str) -> Result<(), String> {
    check(text, NAME, char::is_control)
}

/// What is wrong with a level label.
pub(crate) fn level(text: &str) -> Result<(), String> {
    check(text, LEVEL, |c| c == '|' || c == ',' || c.is_whitespace() || c.is_control())?;
    if text == BEAT {
        return Err(format!("must not be `{BEAT}`, which the protocol uses itself"));
    }
    Ok(())
}

fn check(text: &str, limit: usize, forbidden: impl Fn(char) -> bool) -> Result<(), String> {
    if text.is_empty() {
        return Err("must not be empty".into());
    }
    if text.len() > limit {
        return Err(format!("must have at most {limit} bytes, this has {}", text.len()));
    }
    match text.chars().find(|&c| forbidden(c)) {
        Some(c) => Err(format!("must not contain {c:?}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use zibrato_core::limits;

    #[test]
    fn limits_are_those_of_the_core() {
        assert_eq!(super::NAME, limits::NAME);
        assert_eq!(super::LEVEL, limits::LEVEL);
        assert_eq!(super::TAGS, limits::TAGS);
        assert_eq!(super::BEAT, zibrato_core::level::BEAT);
        let long = ["ä".repeat(16), "ä".repeat(17), "x".repeat(255), "x".repeat(256)];
        let short =
            ["", "info", "beat", "a b", "a|b", "a,b", "a\u{a0}b", "a\0", "a\u{85}b", "größe", "!x", "*"];
        for text in short.into_iter().chain(long.iter().map(String::as_str)) {
            assert_eq!(super::name(text).is_ok(), limits::check_name(text).is_ok(), "{text:?}");
            assert_eq!(super::level(text).is_ok(), limits::check_level(text).is_ok(), "{text:?}");
        }
    }
}
