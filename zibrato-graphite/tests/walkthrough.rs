//! The listings of `docs/write-a-backend.md` are parts of the files that they are said to be from.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What a marker such as `PATH` or `PATH: "first line begins so" to "last line"` stands for, as a block.
fn listing(marker: &str) -> String {
    let (path, lines) = marker.split_once(": ").map_or((marker, None), |(path, lines)| (path, Some(lines)));
    let text = std::fs::read_to_string(root().join(path)).unwrap_or_else(|why| panic!("{path}: {why}"));
    let mut chosen: Vec<&str> = text.lines().collect();
    if let Some(lines) = lines {
        let unquoted = lines.strip_prefix('"').and_then(|lines| lines.strip_suffix('"'));
        let (first, last) = unquoted.and_then(|lines| lines.split_once("\" to \"")).unwrap();
        let begin = chosen.iter().position(|line| line.starts_with(first));
        let begin = begin.unwrap_or_else(|| panic!("no line of {path} begins with {first:?}"));
        let end = chosen[begin..].iter().position(|&line| line == last);
        let end = begin + end.unwrap_or_else(|| panic!("no line of {path} after {first:?} is {last:?}"));
        chosen = chosen[begin..=end].to_vec();
    }
    let language = match path.rsplit_once('.').unwrap().1 {
        "rs" => "rust",
        "conf" => "ini",
        other => other,
    };
    // In Rust's documentation it would be run; here it is shown.
    format!("`{path}`:\n\n```{language}\n{}\n```\n", chosen.join("\n"))
}

/// The document with every listing as it should be.
fn with_listings(document: &str) -> String {
    const BEGIN: &str = "<!-- listing: ";
    const END: &str = "<!-- end of listing -->\n";
    let mut written = String::new();
    let mut parts = document.split(BEGIN);
    written += parts.next().unwrap();
    for part in parts {
        let (marker, rest) = part.split_once(" -->\n").unwrap();
        let rest = rest.split_once(END).map_or(rest, |(old, rest)| {
            assert!(!old.contains("\n## "), "the listing of {marker} has no end");
            rest
        });
        written += &format!("{BEGIN}{marker} -->\n\n{}\n{END}{rest}", listing(marker));
    }
    written
}

#[test]
fn listings_are_parts_of_their_files() {
    let path = root().join("docs/write-a-backend.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let wanted = with_listings(&document);
    assert!(wanted.matches("```rust").count() > 10);
    if std::env::var_os("ZIBRATO_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    } else if wanted != document {
        let line = wanted.lines().zip(document.lines()).position(|(a, b)| a != b).unwrap_or_default() + 1;
        panic!(
            "docs/write-a-backend.md differs from the files from line {line} on; `ZIBRATO_UPDATE_DOCS=1 cargo test -p \
             zibrato-graphite --test walkthrough` writes it anew"
        );
    }
    assert_eq!(with_listings(&wanted), wanted);
}
