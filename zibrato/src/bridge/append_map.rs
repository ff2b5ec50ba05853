use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const BUCKETS: usize = 256;

/// A map whose entries stay as long as it does, so that reading it takes no lock and writes nothing.
#[derive(Debug)]
pub(super) struct AppendMap<K, V> {
    buckets: Box<[Link<K, V>]>,
    len: AtomicUsize,
    most: usize,
}

type Link<K, V> = OnceLock<Box<Node<K, V>>>;

#[derive(Debug)]
struct Node<K, V> {
    key: K,
    value: V,
    next: Link<K, V>,
}

impl<K, V> AppendMap<K, V> {
    /// A map that takes about `most` entries; a race may let in some more.
    pub(super) fn new(most: usize) -> Self {
        let buckets = std::iter::repeat_with(OnceLock::new).take(BUCKETS).collect();
        AppendMap { buckets, len: AtomicUsize::new(0), most }
    }

    /// The value of the key for which `is` holds, made where there is none; `None` where the map is full.
    pub(super) fn get_or_insert(
        &self,
        hash: u64,
        is: impl Fn(&K) -> bool,
        make: impl FnOnce() -> (K, V),
    ) -> Option<&V> {
        // The middle bits of a product depend on most bits of the hash, which need not be a good one.
        let at = (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % BUCKETS;
        let mut link = &self.buckets[at];
        let (mut make, mut made) = (Some(make), None);
        loop {
            if let Some(node) = link.get() {
                if is(&node.key) {
                    return Some(&node.value);
                }
                link = &node.next;
                continue;
            }
            if let Some(make) = make.take() {
                if self.len.load(Relaxed) >= self.most {
                    return None;
                }
                let (key, value) = make();
                made = Some(Box::new(Node { key, value, next: OnceLock::new() }));
            }
            match made.take().map(|node| link.set(node)) {
                Some(Ok(())) => {
                    self.len.fetch_add(1, Relaxed);
                }
                // Somebody was faster, perhaps with this very key.
                Some(Err(node)) => made = Some(node),
                None => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(map: &AppendMap<u64, u64>, key: u64) -> Option<u64> {
        // All keys share few hashes.
        map.get_or_insert(key % 3, |k| *k == key, || (key, key * 10)).copied()
    }

    #[test]
    fn every_key_has_one_value_however_many_threads_ask() {
        let map = AppendMap::new(1000);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..300).for_each(|key| assert_eq!(get(&map, key), Some(key * 10))));
            }
        });
        assert_eq!(map.len.load(Relaxed), 300);
    }

    #[test]
    fn a_full_map_takes_no_more_and_still_knows_what_it_has() {
        let map = AppendMap::new(2);
        assert_eq!((get(&map, 1), get(&map, 2), get(&map, 3)), (Some(10), Some(20), None));
        assert_eq!(get(&map, 1), Some(10));
    }
}
