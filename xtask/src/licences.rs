//! What `deny.toml` allows: with cargo-deny where it is installed, else with the part of it that is here.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::shell::{Failure, cargo, output, root, run, works};
use crate::steps::Done;

#[derive(Deserialize)]
struct Deny {
    graph: Graph,
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    skip: Vec<Skip>,
}

#[derive(Deserialize)]
struct Skip {
    #[serde(rename = "crate")]
    krate: String,
}

impl Skip {
    /// Written `name` or `name@version`, where the version may be only the beginning of one.
    fn covers(&self, name: &str, version: &str) -> bool {
        match self.krate.split_once('@') {
            None => self.krate == name,
            Some((n, v)) => n == name && (version == v || version.starts_with(&format!("{v}."))),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

pub(crate) fn check() -> Result<Done, Failure> {
    if works(&mut cargo(["deny", "--version"])) {
        run(&mut cargo(["deny", "--all-features", "check", "bans", "licenses", "sources"]))?;
        return Ok(Done::Passed);
    }
    println!("cargo-deny is not installed: checking licences, sources and duplicates here");
    let path = root().join("deny.toml");
    let text = std::fs::read_to_string(&path).map_err(|why| Failure(format!("read deny.toml: {why}")))?;
    let deny: Deny = toml::from_str(&text).map_err(|why| Failure(format!("understand deny.toml: {why}")))?;
    let mut cargo = cargo(["metadata", "--format-version", "1", "--all-features"]);
    for target in &deny.graph.targets {
        cargo.args(["--filter-platform", target]);
    }
    let json = output(&mut cargo)?;
    let metadata: Metadata =
        serde_json::from_str(&json).map_err(|why| Failure(format!("understand cargo metadata: {why}")))?;
    let complaints = complaints(&deny, &metadata.packages);
    complaints.iter().for_each(|complaint| println!("{complaint}"));
    println!("{} packages looked at", metadata.packages.len());
    if complaints.is_empty() {
        Ok(Done::Passed)
    } else {
        Err(Failure(format!("allow {} packages", complaints.len())))
    }
}

fn complaints(deny: &Deny, packages: &[Package]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        let Package { name, version, .. } = package;
        versions.entry(name).or_default().push(version);
        match &package.license {
            Some(licence) if allowed(licence, &deny.licenses.allow) => {}
            licence => complaints.push(format!("{name} {version}: licence {licence:?} is not in deny.toml")),
        }
        if let Some(source) = &package.source
            && !deny.sources.allow_registry.iter().any(|url| source.ends_with(url.as_str()))
        {
            complaints.push(format!("{name} {version}: comes from {source}"));
        }
    }
    for (name, versions) in versions {
        let left = versions.iter().filter(|v| !deny.bans.skip.iter().any(|s| s.covers(name, v))).count();
        if left > 1 {
            complaints.push(format!("{name}: {} versions ({})", versions.len(), versions.join(", ")));
        }
    }
    complaints
}

/// Whether an SPDX expression can be met with the allowed licences. `AND` binds closer than `OR`, a slash is an
/// old way to write `OR`, and `WITH` belongs to the licence before it.
fn allowed(expression: &str, allow: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut words = &words[..];
    let met = either(&mut words, allow);
    met && words.is_empty()
}

fn either(words: &mut &[&str], allow: &[String]) -> bool {
    let mut met = both(words, allow);
    while let ["OR", rest @ ..] = *words {
        *words = rest;
        met |= both(words, allow);
    }
    met
}

fn both(words: &mut &[&str], allow: &[String]) -> bool {
    let mut met = single(words, allow);
    while let ["AND", rest @ ..] = *words {
        *words = rest;
        met &= single(words, allow);
    }
    met
}

fn single(words: &mut &[&str], allow: &[String]) -> bool {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let met = either(words, allow);
            if let [")", rest @ ..] = *words {
                *words = rest;
                return met;
            }
            false
        }
        [licence, "WITH", exception, rest @ ..] => {
            *words = rest;
            allow.iter().any(|a| *a == format!("{licence} WITH {exception}"))
        }
        [licence, rest @ ..] => {
            *words = rest;
            allow.iter().any(|a| a == licence)
        }
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn expressions_are_understood() {
        let allow = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "Zlib"].map(String::from);
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "MIT/Apache-2.0",
            "(MIT OR GPL-2.0) AND Zlib",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(allowed(good, &allow), "{good}");
        }
        for bad in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Zlib) AND ISC", "", "MIT WITH x", "(MIT", "MIT)"] {
            assert!(!allowed(bad, &allow), "{bad}");
        }
    }
}
