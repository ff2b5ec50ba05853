//! Names, sources and tags as line protocol can say them.
//!
//! It has no escape for line ends, nor for a backslash before what a backslash escapes; and InfluxDB keeps some names for
//! itself. What cannot be said is changed before anything is added up, so that what becomes one series is added up.

use zibrato_worker::Series;

/// Changes a series to what is stored.
///
/// # Errors
/// Why it cannot be.
pub(crate) fn clean(series: &mut Series, source_tag: &str) -> Result<(), String> {
    if series.name.is_empty() {
        return Err("its name is empty".into());
    }
    series.name = text(&series.name);
    // A line that begins so is a comment.
    if series.name.starts_with('#') {
        series.name.replace_range(..1, "_");
    }
    series.source = text(&series.source);
    series.tags = clean_tags(&series.tags, source_tag);
    Ok(())
}

/// Whether InfluxDB takes no tag of this name.
pub(crate) fn is_reserved(name: &str) -> bool {
    matches!(name, "time" | "_field" | "_measurement")
}

fn clean_tags(tags: &[(String, String)], source_tag: &str) -> Vec<(String, String)> {
    let mut cleaned: Vec<(String, String)> = Vec::with_capacity(tags.len());
    for (name, value) in tags.iter().filter(|(name, value)| !name.is_empty() && !value.is_empty()) {
        let mut name = text(name);
        if is_reserved(&name) || name == source_tag {
            name = format!("tag_{name}");
        }
        let plain = name.clone();
        let mut number = 2;
        while cleaned.iter().any(|(taken, _)| *taken == name) {
            name = format!("{plain}_{number}");
            number += 1;
        }
        cleaned.push((name, text(value)));
    }
    cleaned.sort();
    cleaned
}

/// A text with control characters as `_`, and with `/` for backslashes that could not be told from an escape.
pub(crate) fn text(text: &str) -> String {
    let mut characters = text.chars().peekable();
    let mut clean = String::with_capacity(text.len());
    while let Some(character) = characters.next() {
        clean.push(match (character, characters.peek()) {
            ('\\', None | Some(',' | '=' | ' ' | '\\' | '"')) => '/',
            ('\\', Some(next)) if next.is_control() => '/',
            (character, _) if character.is_control() => '_',
            (character, _) => character,
        });
    }
    clean
}

#[cfg(test)]
mod tests {
    use zibrato_worker::Kind;

    use super::*;

    fn cleaned(name: &str, tags: &[(&str, &str)]) -> Result<Series, String> {
        let tags = tags.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut series = Series { name: name.into(), source: "web1".into(), tags, kind: Kind::Counter };
        clean(&mut series, "source").map(|()| series)
    }

    #[test]
    fn what_cannot_be_said_is_changed() {
        assert_eq!(text(r"C:\Windows, x=y"), r"C:\Windows, x=y");
        assert_eq!(text(r"a\ b\,c\=d\\e\"), r"a/ b/,c/=d/\e/");
        assert_eq!(text("two\nlines\t\0\\\n"), "two_lines__/_");
        assert_eq!(cleaned("#calls", &[]).unwrap().name, "_calls");
        assert!(cleaned("", &[]).is_err());
    }

    #[test]
    fn tags_never_hide_one_another() {
        let tags = [("", "x"), ("a", ""), ("source", "mine"), ("tag_source", "b"), ("time", "5")];
        let expected = [("tag_source", "mine"), ("tag_source_2", "b"), ("tag_time", "5")];
        let found = cleaned("n", &tags).unwrap().tags;
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(cleaned("n", &[("a\n", "1"), ("a\t", "2")]).unwrap().tags[1].0, "a__2");
    }
}
