//! Texts in quotes, as Python and Go show them.

/// Reads a text that begins with its quote; what it says, and what follows.
pub(super) fn read(text: &str) -> Option<(String, &str)> {
    let mut chars = text.char_indices();
    let (_, quote) = chars.next().filter(|(_, c)| matches!(c, '\'' | '"'))?;
    let mut said = String::new();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Some((said, &text[at + 1..]));
        }
        if c != '\\' {
            said.push(c);
            continue;
        }
        let (_, escaped) = chars.next()?;
        let digits = match escaped {
            'n' => {
                said.push('\n');
                continue;
            }
            't' => {
                said.push('\t');
                continue;
            }
            'r' => {
                said.push('\r');
                continue;
            }
            'x' => 2,
            'u' => 4,
            'U' => 8,
            other => {
                said.push(other);
                continue;
            }
        };
        let code = (0..digits).try_fold(0u32, |code, _| {
            let (_, digit) = chars.next()?;
            Some(code << 4 | digit.to_digit(16)?)
        })?;
        said.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    None
}
