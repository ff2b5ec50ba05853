//! What an answer says of each document.

use serde::Deserialize;

/// What became of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    Stored,
    /// Not now, and why.
    Later(String),
    /// Never, and why.
    Refused(String),
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    errors: bool,
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    index: Outcome,
}

#[derive(Deserialize)]
struct Outcome {
    status: u16,
    #[serde(default)]
    error: serde_json::Value,
}

impl Outcome {
    fn why(&self) -> String {
        let reason = |error: &serde_json::Value| error.get("reason")?.as_str().map(String::from);
        let cause = self.error.get("caused_by").and_then(reason);
        let text = reason(&self.error).unwrap_or_else(|| self.error.to_string());
        format!("{}: {text}{}", self.status, cause.map(|cause| format!(" ({cause})")).unwrap_or_default())
    }
}

/// What became of each of so many documents; `None` if that is not what the body tells.
pub(crate) fn fates(body: &str, documents: usize) -> Option<Vec<Fate>> {
    let said: Said = serde_json::from_str(body).ok()?;
    if !said.errors {
        return Some(vec![Fate::Stored; documents]);
    }
    let fate = |Item { index: outcome }: &Item| match outcome.status {
        200..300 => Fate::Stored,
        429 | 500.. => Fate::Later(outcome.why()),
        _ => Fate::Refused(outcome.why()),
    };
    (said.items.len() == documents).then(|| said.items.iter().map(fate).collect())
}
