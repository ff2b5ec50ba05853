//! Families: all series of one name, of which Prometheus wants to know one type.

use std::collections::{BTreeMap, HashMap};

use zibrato_worker::Kind;

/// What a family is to Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Type {
    Histogram,
    Counter,
    Gauge,
}

impl Type {
    pub(crate) fn of(kind: Kind) -> Type {
        match kind {
            Kind::Counter => Type::Counter,
            Kind::Timer | Kind::Distribution => Type::Histogram,
            Kind::Updown | Kind::Gauge | Kind::Point | Kind::Description => Type::Gauge,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Type::Histogram => "histogram",
            Type::Counter => "counter",
            Type::Gauge => "gauge",
        }
    }
}

/// What tells families apart before clashes are resolved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FamilyKey {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// The names under which families are exposed.
///
/// A family has several names to itself: a counter `a_total` also `a`, as OpenMetrics calls the family, and `a_created`, a
/// histogram `b` also `b_bucket`, `b_count`, `b_sum` and `b_created`. The family that comes second gets its kind for an
/// ending, as in `a_gauge`, and a number if that is taken too. Of those that come together, histograms come first,
/// then counters, then all others, each by name. A name that was given stays for as long as the process runs.
#[derive(Debug, Default)]
pub(crate) struct Names {
    given: BTreeMap<FamilyKey, String>,
    /// Whose each name is.
    taken: HashMap<String, FamilyKey>,
}

/// When so many more families are remembered than there are, names are given anew.
const MOST_FORMER: usize = 10_000;

impl Names {
    /// Gives names to all these families that have none yet.
    pub(crate) fn give<'a>(&mut self, families: impl Iterator<Item = &'a FamilyKey> + Clone) {
        if self.given.len() > MOST_FORMER + 2 * families.clone().count() {
            *self = Names::default();
        }
        let mut new: Vec<&FamilyKey> = families.filter(|key| !self.given.contains_key(key)).collect();
        new.sort_by_key(|key| (Type::of(key.kind), &key.name, key.kind));
        for key in new {
            self.give_one(key);
        }
    }

    /// The name of a family that was given one.
    pub(crate) fn get(&self, key: &FamilyKey) -> Option<&str> {
        self.given.get(key).map(String::as_str)
    }

    fn give_one(&mut self, key: &FamilyKey) {
        let candidates = std::iter::successors(Some(1u64), |n| n.checked_add(1));
        for number in candidates {
            let name = candidate(key, number);
            let claims = claims(&name, Type::of(key.kind));
            let Some(other) = claims.iter().find_map(|claim| self.taken.get(claim)) else {
                self.taken.extend(claims.into_iter().map(|claim| (claim, key.clone())));
                self.given.insert(key.clone(), name);
                return;
            };
            if number == 1 {
                tracing::warn!(
                    metric = key.name, kind = %key.kind, other = other.name, other_kind = %other.kind,
                    exposed_as = candidate(key, 2),
                    "two metrics would have the same name; rename one of them"
                );
            }
        }
    }
}

fn candidate(key: &FamilyKey, number: u64) -> String {
    let counter = Type::of(key.kind) == Type::Counter;
    let ending = match number {
        1 => String::new(),
        2 => format!("_{}", key.kind),
        n => format!("_{}_{}", key.kind, n - 1),
    };
    if counter { format!("{}{ending}_total", stem(&key.name)) } else { key.name.clone() + &ending }
}

/// A counter's name without `_total`, as OpenMetrics calls the family.
pub(crate) fn stem(name: &str) -> &str {
    name.strip_suffix("_total").unwrap_or(name)
}

fn claims(name: &str, of: Type) -> Vec<String> {
    match of {
        Type::Histogram => {
            ["", "_bucket", "_count", "_sum", "_created"].iter().map(|e| format!("{name}{e}")).collect()
        }
        Type::Counter => ["", "_total", "_created"].iter().map(|e| format!("{}{e}", stem(name))).collect(),
        Type::Gauge => vec![name.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(keys: &[(&str, Kind)]) -> Vec<String> {
        let keys: Vec<FamilyKey> =
            keys.iter().map(|&(name, kind)| FamilyKey { name: name.into(), kind }).collect();
        let mut names = Names::default();
        names.give(keys.iter());
        keys.iter().map(|key| names.get(key).unwrap().to_owned()).collect()
    }

    #[test]
    fn no_two_families_share_a_name() {
        use Kind::*;
        assert_eq!(named(&[("a", Gauge), ("b", Gauge)]), ["a", "b"]);
        assert_eq!(named(&[("a", Gauge), ("a", Updown)]), ["a_gauge", "a"]);
        assert_eq!(named(&[("a", Gauge), ("a_total", Counter)]), ["a_gauge", "a_total"]);
        assert_eq!(named(&[("a_count", Gauge), ("a", Distribution)]), ["a_count_gauge", "a"]);
        assert_eq!(
            named(&[("a_seconds", Timer), ("a_seconds", Distribution)]),
            ["a_seconds", "a_seconds_distribution"]
        );
        assert_eq!(named(&[("a_sum_total", Counter), ("a", Timer)]), ["a_sum_counter_total", "a"]);
        assert_eq!(
            named(&[("a", Gauge), ("a", Updown), ("a_gauge", Updown)]),
            ["a_gauge", "a", "a_gauge_updown"]
        );
    }

    #[test]
    fn a_name_stays_when_others_come() {
        let mut names = Names::default();
        let key = |name: &str, kind| FamilyKey { name: name.into(), kind };
        let gauge = key("a_count", Kind::Gauge);
        names.give([&gauge].into_iter());
        let histogram = key("a", Kind::Timer);
        names.give([&gauge, &histogram].into_iter());
        assert_eq!((names.get(&gauge), names.get(&histogram)), (Some("a_count"), Some("a_timer")));
    }
}
