//! Parts of the documentation that a command writes.

use std::path::Path;

use crate::shell::{Failure, Outcome};

/// Replaces what stands between `<!-- name: … -->` and `<!-- end of name -->`.
///
/// # Errors
/// When the file cannot be read or written, or has no such part.
pub(crate) fn replace(path: &Path, name: &str, text: &str) -> Outcome {
    let failed =
        |verb: &str, why: &dyn std::fmt::Display| Failure(format!("{verb} {}: {why}", path.display()));
    let old = std::fs::read_to_string(path).map_err(|why| failed("read", &why))?;
    let missing = || Failure(format!("find `<!-- {name}: … -->` and its end in {}", path.display()));
    let new = replaced(&old, name, text).ok_or_else(missing)?;
    std::fs::write(path, new).map_err(|why| failed("write", &why))
}

fn replaced(document: &str, name: &str, text: &str) -> Option<String> {
    let comment = document.find(&format!("<!-- {name}:"))?;
    let begin = comment + document[comment..].find("-->")? + "-->".len();
    let end = begin + document[begin..].find(&format!("<!-- end of {name} -->"))?;
    Some(format!("{}\n\n{}\n\n{}", &document[..begin], text.trim(), &document[end..]))
}

#[cfg(test)]
mod tests {
    use super::replaced;

    #[test]
    fn only_the_named_part_is_replaced() {
        let document = "a\n<!-- sizes: by hand -->\nold\n<!-- end of sizes -->\nb\n";
        let new = "a\n<!-- sizes: by hand -->\n\nnew\n\n<!-- end of sizes -->\nb\n";
        assert_eq!(replaced(document, "sizes", "new\n").as_deref(), Some(new));
        assert_eq!(replaced(new, "sizes", "new").as_deref(), Some(new));
        assert_eq!(replaced(document, "instructions", "new"), None);
    }
}
