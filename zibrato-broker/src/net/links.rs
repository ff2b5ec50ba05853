//! Every connection, from the moment it is accepted: how many there are, whose, and who has to go.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::config::ConnectionLimits;
use crate::refusals::Refusals;

/// Why a connection ends; the words are the names of counters.
pub(crate) type Why = &'static str;

const RUN: u8 = 0;
const FINISH: u8 = 1;
const END: u8 = 2;

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: u64,
    pub(crate) place: &'static str,
    pub(crate) address: IpAddr,
    told: AtomicU8,
    woken: Notify,
    /// Bytes of a message that is not whole yet, or [`OUT`], and since when it is not, in ms after the start.
    incoming: AtomicUsize,
    incoming_since: AtomicU64,
}

/// Instead of the bytes that a connection holds: it is out of the table, and what it holds until its task ends does not
/// count, because others would have to make room for it.
const OUT: usize = usize::MAX;

/// What a connection has been told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Run,
    /// Take and write what is there already, then end.
    Finish,
    /// End at once.
    End,
}

impl Link {
    pub(crate) fn told(&self) -> Told {
        match self.told.load(Relaxed) {
            RUN => Told::Run,
            FINISH => Told::Finish,
            _ => Told::End,
        }
    }

    /// Done when it has been told something else than `before`.
    pub(crate) async fn changed(&self, before: Told) -> Told {
        loop {
            let woken = self.woken.notified();
            let told = self.told();
            if told != before {
                return told;
            }
            woken.await;
        }
    }

    fn tell(&self, what: u8) {
        self.told.fetch_max(what, Relaxed);
        self.woken.notify_one();
    }
}

#[derive(Debug, Default)]
struct Table {
    links: HashMap<u64, Arc<Link>>,
    /// Who has not finished the handshake, oldest first.
    pending: HashMap<IpAddr, BTreeSet<u64>>,
    pending_count: usize,
    by_address: HashMap<IpAddr, usize>,
    /// Whose connections they are, once that is known.
    owners: HashMap<u64, Arc<str>>,
    by_owner: HashMap<Arc<str>, usize>,
}

/// Counters of connections.
#[derive(Debug, Default)]
pub(crate) struct LinkCounts {
    pub(crate) accepted: AtomicU64,
    pub(crate) greeted: AtomicU64,
    /// Commands after the handshake: subscriptions and heartbeats.
    pub(crate) commands: AtomicU64,
}

/// Why a connection is not let in after its handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotGreeted {
    /// It had to make room, which has been counted.
    Ended,
    /// There are too many of its owner.
    Refused(Why),
    /// Its owner may not come in any more.
    Forbidden,
}

/// All connections of the broker.
pub(crate) struct Links {
    table: Mutex<Table>,
    limits: ConnectionLimits,
    refusals: Arc<Refusals>,
    next: AtomicU64,
    started: Instant,
    incoming: AtomicUsize,
    pub(crate) counts: LinkCounts,
}

/// Takes a connection out when its task ends, however that ends.
pub(crate) struct Entered {
    pub(crate) link: Arc<Link>,
    links: Arc<Links>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.links.leave(&mut self.links.table(), &self.link);
    }
}

impl Links {
    pub(crate) fn new(limits: ConnectionLimits, refusals: Arc<Refusals>) -> Arc<Links> {
        Arc::new(Links {
            table: Mutex::default(),
            limits,
            refusals,
            next: AtomicU64::new(1),
            started: Instant::now(),
            incoming: AtomicUsize::new(0),
            counts: LinkCounts::default(),
        })
    }

    pub(crate) fn limits(&self) -> &ConnectionLimits {
        &self.limits
    }

    /// Lets a new connection in, or says why not. Where there are too many, whoever has most gives: of that address
    /// the oldest unfinished handshake, else its youngest connection.
    pub(crate) fn enter(self: &Arc<Self>, place: &'static str, address: IpAddr) -> Result<Entered, Why> {
        self.counts.accepted.fetch_add(1, Relaxed);
        let id = self.next.fetch_add(1, Relaxed);
        let link = Arc::new(Link {
            id,
            place,
            address,
            told: AtomicU8::new(RUN),
            woken: Notify::new(),
            incoming: AtomicUsize::new(0),
            incoming_since: AtomicU64::new(0),
        });
        let mut table = self.table();
        if table.by_address.get(&address).is_some_and(|n| *n >= self.limits.per_address)
            && !self.evict(&mut table, address, "connections_per_address")
        {
            return Err("connections_per_address");
        }
        if table.links.len() >= self.limits.connections {
            let most = table.by_address.iter().max_by_key(|(_, n)| **n).map(|(a, n)| (*a, *n));
            let own = table.by_address.get(&address).copied().unwrap_or_default();
            match most {
                Some((most, n)) if n > own + 1 => {
                    if !self.evict(&mut table, most, "connections") {
                        let youngest =
                            table.links.values().filter(|l| l.address == most).max_by_key(|l| l.id);
                        youngest
                            .cloned()
                            .into_iter()
                            .for_each(|l| self.throw_out(&mut table, &l, "connections"));
                    }
                }
                _ if self.evict(&mut table, address, "connections") => {}
                _ => return Err("connections"),
            }
        }
        if table.pending_count >= self.limits.handshakes {
            let most = table.pending.iter().max_by_key(|(_, ids)| ids.len()).map(|(a, _)| *a);
            if let Some(most) = most {
                self.evict(&mut table, most, "handshakes");
            }
        }
        *table.by_address.entry(address).or_default() += 1;
        table.pending.entry(address).or_default().insert(id);
        table.pending_count += 1;
        table.links.insert(id, link.clone());
        drop(table);
        Ok(Entered { link, links: self.clone() })
    }

    /// Notes that a handshake is done, and whose connection it is, unless it has had to make room meanwhile. Whether it
    /// `may` still come in is asked once it can be found by [`end_owners`](Self::end_owners): whoever is forbidden just
    /// now is either told by that, or not let in here.
    pub(crate) fn greeted(
        &self,
        link: &Link,
        owner: &Arc<str>,
        is_identity: bool,
        may: impl FnOnce() -> bool,
    ) -> Result<(), NotGreeted> {
        {
            let mut table = self.table();
            if !table.links.contains_key(&link.id) {
                return Err(NotGreeted::Ended);
            }
            table.finished(link);
            if is_identity {
                let count = table.by_owner.entry(owner.clone()).or_default();
                if *count >= self.limits.per_identity {
                    return Err(NotGreeted::Refused("connections_per_identity"));
                }
                *count += 1;
                table.owners.insert(link.id, owner.clone());
            }
        }
        if !may() {
            return Err(NotGreeted::Forbidden);
        }
        self.counts.greeted.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Ends the oldest unfinished handshake of an address; false if there is none.
    fn evict(&self, table: &mut Table, address: IpAddr, why: Why) -> bool {
        let oldest = table.pending.get(&address).and_then(|ids| ids.first().copied());
        let Some(link) = oldest.and_then(|id| table.links.get(&id).cloned()) else { return false };
        self.throw_out(table, &link, why);
        true
    }

    /// It no longer counts from now on.
    fn leave(&self, table: &mut Table, link: &Link) {
        table.leave(link);
        let held = link.incoming.swap(OUT, Relaxed);
        if held != OUT {
            self.incoming.fetch_sub(held, Relaxed);
        }
    }

    /// Its task ends as soon as it runs.
    fn throw_out(&self, table: &mut Table, link: &Arc<Link>, why: Why) {
        self.leave(table, link);
        link.tell(END);
        self.refusals.count_of(link.place, why, &link.address.to_string(), "made room for others");
    }

    /// Makes room when the process has no file descriptor left: the oldest unfinished handshake goes, or where there is
    /// none, the youngest connection of the address that has most.
    pub(crate) fn shed(&self) {
        let mut table = self.table();
        let most = table.pending.iter().max_by_key(|(_, ids)| ids.len()).map(|(a, _)| *a);
        if most.is_some_and(|most| self.evict(&mut table, most, "descriptors")) {
            return;
        }
        let most = table.by_address.iter().max_by_key(|(_, n)| **n).map(|(a, _)| *a);
        let youngest = table.links.values().filter(|l| Some(l.address) == most).max_by_key(|l| l.id).cloned();
        youngest.iter().for_each(|l| self.throw_out(&mut table, l, "descriptors"));
    }

    /// Notes how many bytes a connection holds of a message that is not whole yet; `is_new` says that it is another
    /// message than before. Beyond the limit of all of them together, of the address that holds most the one goes that
    /// has waited longest.
    ///
    /// Only the connection's own task calls it.
    pub(crate) fn incoming(&self, link: &Link, bytes: usize, is_new: bool) {
        let before = link.incoming.load(Relaxed);
        if before == OUT {
            return;
        }
        if before == 0 || is_new {
            link.incoming_since.store(self.elapsed(), Relaxed);
        }
        if before == bytes {
            return;
        }
        // What is taken off was put on before, also where the connection has to leave just now: so the sum of all never
        // falls below zero.
        let more = bytes.saturating_sub(before);
        let all = self.incoming.fetch_add(more, Relaxed) + more;
        if link.incoming.compare_exchange(before, bytes, Relaxed, Relaxed).is_err() {
            self.incoming.fetch_sub(more, Relaxed);
            return;
        }
        self.incoming.fetch_sub(before.saturating_sub(bytes), Relaxed);
        if more > 0 && all > self.limits.incoming_bytes {
            self.make_room();
        }
    }

    /// Ends connections that hold messages that are not whole, until what they hold together is well below the limit, so
    /// that this is not done for every read.
    fn make_room(&self) {
        let limit = self.limits.incoming_bytes;
        let mut table = self.table();
        let held = |l: &Arc<Link>| l.incoming.load(Relaxed);
        let mut waiting: HashMap<IpAddr, (usize, Vec<Arc<Link>>)> = HashMap::new();
        for link in table.links.values().filter(|l| held(l) > 0) {
            let (bytes, links) = waiting.entry(link.address).or_default();
            *bytes += held(link);
            links.push(link.clone());
        }
        // The one that waits longest last, to be taken off.
        let order = |l: &Arc<Link>| std::cmp::Reverse((l.incoming_since.load(Relaxed), l.id));
        waiting.values_mut().for_each(|(_, links)| links.sort_by_cached_key(order));
        while self.incoming.load(Relaxed) > limit - limit / 16 {
            let most = waiting.values_mut().max_by_key(|(bytes, _)| *bytes);
            let Some((bytes, link)) = most.and_then(|(bytes, links)| Some((bytes, links.pop()?))) else {
                return;
            };
            *bytes = bytes.saturating_sub(held(&link));
            self.throw_out(&mut table, &link, "unfinished");
        }
    }

    /// Ends who has not finished a message for too long; to be called about once a second.
    pub(crate) fn sweep(&self) {
        let oldest = self.elapsed().saturating_sub(self.limits.message_time.as_millis() as u64);
        let mut table = self.table();
        let late = |l: &&Arc<Link>| {
            l.incoming.load(Relaxed) > 0 && l.incoming_since.load(Relaxed) < oldest && l.told() != Told::End
        };
        let late: Vec<_> = table.links.values().filter(late).cloned().collect();
        late.iter().for_each(|l| self.throw_out(&mut table, l, "unfinished"));
    }

    /// Tells all connections of a place to take and write what is there, and to end then.
    pub(crate) fn finish(&self, place: &'static str) {
        self.table().links.values().filter(|l| l.place == place).for_each(|l| l.tell(FINISH));
    }

    /// Ends all connections of whom `gone` says so; gives how many.
    pub(crate) fn end_owners(&self, gone: impl Fn(&str) -> bool, why: Why) -> usize {
        let mut table = self.table();
        let ids: Vec<u64> = table.owners.iter().filter(|(_, o)| gone(o)).map(|(id, _)| *id).collect();
        let links: Vec<_> = ids.iter().filter_map(|id| table.links.get(id).cloned()).collect();
        for link in &links {
            let owner = table.owners.get(&link.id).cloned();
            self.leave(&mut table, link);
            link.tell(END);
            self.refusals.count_of(
                link.place,
                why,
                owner.as_deref().unwrap_or_default(),
                "no longer allowed",
            );
        }
        links.len()
    }

    /// How many connections there are, and how many of them have not finished the handshake.
    pub(crate) fn len(&self) -> (usize, usize) {
        let table = self.table();
        (table.links.len(), table.pending_count)
    }

    /// How many connections there are by place.
    pub(crate) fn by_place(&self) -> BTreeMap<&'static str, usize> {
        let mut places = BTreeMap::new();
        self.table().links.values().for_each(|l| *places.entry(l.place).or_default() += 1);
        places
    }

    /// Bytes of messages that are not whole yet.
    pub(crate) fn incoming_bytes(&self) -> usize {
        self.incoming.load(Relaxed)
    }

    fn elapsed(&self) -> u64 {
        // From 1, because 0 is never.
        Duration::as_millis(&self.started.elapsed()) as u64 + 1
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it is held; were it so, counts would be off, and nothing else.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn leave(&mut self, link: &Link) {
        if self.links.remove(&link.id).is_none() {
            return;
        }
        self.finished(link);
        less(&mut self.by_address, &link.address);
        if let Some(owner) = self.owners.remove(&link.id) {
            less(&mut self.by_owner, &owner);
        }
    }

    fn finished(&mut self, link: &Link) {
        let Some(ids) = self.pending.get_mut(&link.address) else { return };
        self.pending_count -= usize::from(ids.remove(&link.id));
        if ids.is_empty() {
            self.pending.remove(&link.address);
        }
    }
}

fn less<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn links(limits: ConnectionLimits) -> Arc<Links> {
        Links::new(limits, Arc::default())
    }

    fn address(last: u8) -> IpAddr {
        [127, 0, 0, last].into()
    }

    #[test]
    fn the_oldest_handshake_of_whoever_has_most_makes_room() {
        let links = links(ConnectionLimits { handshakes: 3, ..Default::default() });
        let bad: Vec<_> = (0..3).map(|_| links.enter("in", address(1)).unwrap()).collect();
        let good = links.enter("in", address(2)).unwrap();
        assert_eq!(bad.iter().map(|e| e.link.told()).collect::<Vec<_>>(), [Told::End, Told::Run, Told::Run]);
        assert_eq!(good.link.told(), Told::Run);
        assert_eq!(links.len(), (3, 3));
        drop((bad, good));
        assert_eq!(links.len(), (0, 0));
        assert_eq!(links.table().by_address.len(), 0);
    }

    #[test]
    fn whoever_has_most_connections_gives_one_up_for_others_but_not_for_itself() {
        let links = links(ConnectionLimits { connections: 3, ..Default::default() });
        let enter = |last| {
            let entered = links.enter("in", address(last))?;
            links.greeted(&entered.link, &"".into(), false, || true).unwrap();
            Ok::<_, Why>(entered)
        };
        let bad: Vec<_> = (0..3).map(|_| enter(1).unwrap()).collect();
        assert_eq!(enter(1).err(), Some("connections"));
        let good = enter(2).unwrap();
        assert_eq!(bad.iter().filter(|e| e.link.told() == Told::End).count(), 1);
        assert_eq!(bad[2].link.told(), Told::End);
        // Now both have about the same.
        assert_eq!(enter(2).err(), Some("connections"));
        drop(good);
    }

    #[test]
    fn of_whoever_holds_most_the_message_that_waits_longest_goes_when_there_is_no_room() {
        let links = links(ConnectionLimits { incoming_bytes: 1000, ..Default::default() });
        let enter = |last| links.enter("in", address(last)).unwrap();
        let (good, first, second) = (enter(2), enter(1), enter(1));
        links.incoming(&good.link, 300, false);
        links.incoming(&first.link, 500, false);
        links.incoming(&second.link, 100, false);
        assert_eq!(links.incoming_bytes(), 900);
        links.incoming(&second.link, 300, false);
        let told = [&good, &first, &second].map(|e| e.link.told());
        assert_eq!(told, [Told::Run, Told::End, Told::Run]);
        assert_eq!(links.incoming_bytes(), 600);
        // Its task was reading just then. Nobody makes room for that.
        links.incoming(&first.link, 900, false);
        links.incoming(&second.link, 310, false);
        assert_eq!([&good, &second].map(|e| e.link.told()), [Told::Run, Told::Run]);
        drop(first);
        assert_eq!(links.incoming_bytes(), 610);
        drop((good, second));
        assert_eq!(links.incoming_bytes(), 0);
    }

    #[test]
    fn a_message_is_late_by_its_own_time_and_not_by_that_of_the_one_before() {
        let message_time = Duration::from_millis(100);
        let links = links(ConnectionLimits { message_time, ..Default::default() });
        let (one, other) = (links.enter("in", address(1)).unwrap(), links.enter("in", address(1)).unwrap());
        links.incoming(&one.link, 100, false);
        links.incoming(&other.link, 100, false);
        std::thread::sleep(2 * message_time);
        // The next message of it has begun.
        links.incoming(&other.link, 100, true);
        links.sweep();
        assert_eq!((one.link.told(), other.link.told()), (Told::End, Told::Run));
    }

    #[test]
    fn whoever_is_forbidden_while_it_comes_in_does_not_stay() {
        let links = links(ConnectionLimits::default());
        let owner: Arc<str> = "worker".into();
        let entered = links.enter("out", address(1)).unwrap();
        // The file is read again after it was asked whose key it is: either of both has to see the other.
        let forbidden = || {
            assert_eq!(links.end_owners(|name| name == &*owner, "revoked"), 1);
            false
        };
        assert_eq!(links.greeted(&entered.link, &owner, true, forbidden), Err(NotGreeted::Forbidden));
        assert_eq!(entered.link.told(), Told::End);
        // It is out of the table, and comes back in no other way.
        assert_eq!(links.greeted(&entered.link, &owner, true, || true), Err(NotGreeted::Ended));
        drop(entered);
        let table = links.table();
        assert_eq!((table.owners.len(), table.by_owner.len()), (0, 0));
    }
}
