//! Finding the measurements that a service refuses, so that the others beside them are not lost.

use crate::payload::Entry;

/// What is to be tried after a request in which something is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// All of them are at fault.
    Refuse,
    /// Try these groups; none is empty, and each is smaller than what was refused.
    Try(Vec<Vec<usize>>),
}

/// Splits a refused request, whose entries are `part`: indices into `entries`.
///
/// What seems to be meant is only a hint, and gets a request of its own for each: nothing is given up before the service
/// has refused it alone, except together with others of one time where times are all that is wrong.
pub(crate) fn split(entries: &[Entry], part: &[usize], meant: &[usize], only_times: bool) -> Next {
    let mut times: Vec<u64> = part.iter().map(|&i| entries[i].time).collect();
    times.sort_unstable();
    if part.len() < 2 || (only_times && times[0] == times[times.len() - 1]) {
        return Next::Refuse;
    }
    if only_times {
        // The later half of the times begins at a time that is not the first, so neither side is empty.
        let from = times.iter().copied().filter(|&t| t > times[0]).nth(times.len() / 2);
        let from = from.or(times.last().copied()).unwrap_or_default();
        let (early, late) = part.iter().partition(|&&i| entries[i].time < from);
        return Next::Try(vec![late, early]);
    }
    let is_meant = |place: &usize| meant.contains(place);
    let (alone, rest): (Vec<usize>, Vec<usize>) = (0..part.len()).partition(is_meant);
    if alone.is_empty() || rest.is_empty() {
        let (left, right) = part.split_at(part.len() / 2);
        return Next::Try(vec![left.to_vec(), right.to_vec()]);
    }
    let mut groups = vec![rest.into_iter().map(|place| part[place]).collect()];
    groups.extend(alone.into_iter().map(|place| vec![part[place]]));
    Next::Try(groups)
}

#[cfg(test)]
mod tests {
    use zibrato_core::frame::Kind;

    use super::*;

    fn entries(times: &[u64]) -> Vec<Entry> {
        let entry = |&time| Entry {
            name: "n".into(),
            time,
            key: 0,
            kind: Kind::Point,
            json: String::new(),
            indices: Vec::new(),
        };
        times.iter().map(entry).collect()
    }

    #[test]
    fn splits_by_what_is_known() {
        let same = entries(&[5; 4]);
        assert_eq!(split(&same, &[0, 1, 2, 3], &[], false), Next::Try(vec![vec![0, 1], vec![2, 3]]));
        assert_eq!(split(&same, &[0, 2, 3], &[1], false), Next::Try(vec![vec![0, 3], vec![2]]));
        assert_eq!(split(&same, &[0, 3], &[0, 1], false), Next::Try(vec![vec![0], vec![3]]));
        assert_eq!(split(&same, &[3], &[0], false), Next::Refuse);
        assert_eq!(split(&same, &[0, 1, 2, 3], &[], true), Next::Refuse);
        let times = entries(&[5, 9, 5, 7]);
        assert_eq!(split(&times, &[0, 1, 2, 3], &[], true), Next::Try(vec![vec![1], vec![0, 2, 3]]));
        assert_eq!(split(&times, &[0, 2, 3], &[], true), Next::Try(vec![vec![3], vec![0, 2]]));
    }
}
