use std::collections::HashMap;
use std::path::Path;

use crate::shell::Failure;

/// What callgrind counted, by caller and callee.
#[derive(Debug)]
pub(super) struct Costs(HashMap<(String, String), u64>);

/// Reads what callgrind wrote, uncompressed, with instructions as the only event.
///
/// # Errors
/// When it cannot be read.
pub(super) fn read(path: &Path) -> Result<Costs, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|why| Failure(format!("read what callgrind wrote to {}: {why}", path.display())))?;
    Ok(Costs::parse(&text))
}

impl Costs {
    /// The format has a line for each cost, under the function it arose in. What a call cost in all is on the line
    /// after `calls=`, and the function that was called on the `cfn=` line before it.
    fn parse(text: &str) -> Self {
        let mut costs = HashMap::new();
        let (mut caller, mut callee, mut after_call) = ("", "", false);
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("fn=") {
                caller = name;
            } else if let Some(name) = line.strip_prefix("cfn=") {
                callee = name;
            } else if line.starts_with("calls=") {
                after_call = true;
            } else if std::mem::take(&mut after_call) {
                let cost: u64 = line.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
                *costs.entry((caller.to_owned(), callee.to_owned())).or_insert(0) += cost;
            }
        }
        Costs(costs)
    }

    /// Instructions of all calls from one function to another, given by the ends of their names.
    pub(super) fn of_call(&self, caller: &str, callee: &str) -> Option<u64> {
        let found = self.0.iter().filter(|((from, to), _)| from.ends_with(caller) && to.ends_with(callee));
        found.map(|(_, cost)| *cost).reduce(|a, b| a + b)
    }
}

#[cfg(test)]
mod tests {
    use super::Costs;

    const WRITTEN: &str = "\
fn=app::twice
34 44
fi=/src/hint.rs
491 66
cfi=/src/cases.rs
cfn=app::cases::count
calls=1 21 
35 6400
fe=/src/main.rs
35 22

fn=app::once
cfn=app::cases::count
calls=2 21 
35 3200
fn=app::once
cfn=app::cases::count
calls=1 21 
36 5
";

    #[test]
    fn cost_of_calls_is_found_by_their_ends() {
        let costs = Costs::parse(WRITTEN);
        assert_eq!(costs.of_call("::twice", "::cases::count"), Some(6400));
        assert_eq!(costs.of_call("::once", "::cases::count"), Some(3205));
        assert_eq!(costs.of_call("::once", "::cases::record"), None);
    }
}
