//! Asking every broker for what was missed: again and again, and in whole answers.

use std::collections::HashSet;

use zibrato_core::ask::{Cursor, Message};

const SECOND: u64 = 1_000_000_000;
/// How long after a question the next one comes, in nanoseconds.
pub(crate) const INTERVAL: u64 = 5 * SECOND;

/// What a worker asks brokers, and how far they have answered. Cursors are in memory like the ledger: a worker that
/// starts asks for everything.
#[derive(Debug)]
pub struct Asking {
    levels: Vec<String>,
    interval: u64,
    brokers: Vec<Asked>,
    last_id: u64,
}

#[derive(Debug, Default)]
struct Asked {
    cursor: Option<Cursor>,
    /// Whether what still talks is wanted, too: something that was published was not heard.
    talking: bool,
    open: Option<Question>,
    next: u64,
    answered: Option<u64>,
}

#[derive(Debug)]
struct Question {
    id: u64,
    /// Whether its answer has all that talks, as it was after the last time that something was not heard.
    talking: bool,
    asked: u64,
    /// When something of the answer last came.
    moved: u64,
    got: HashSet<u64>,
    end: Option<(u64, Cursor)>,
}

impl Asking {
    /// Asks so many brokers for `levels` (none means all) every `interval` nanoseconds.
    pub fn new(brokers: usize, levels: &[String], interval: u64) -> Asking {
        let brokers = (0..brokers).map(|_| Asked::default()).collect();
        Asking { levels: levels.to_vec(), interval, brokers, last_id: 0 }
    }

    /// The questions that are to be sent at `now`, each with the index of its broker.
    pub fn due(&mut self, now: u64) -> Vec<(usize, Message)> {
        let mut questions = Vec::new();
        for (index, broker) in self.brokers.iter_mut().enumerate() {
            // An answer on its way is waited for; one that does not move is given up, and its cursor with it.
            let moving =
                broker.open.as_ref().is_some_and(|open| now < open.moved.saturating_add(self.interval));
            if now < broker.next || moving {
                continue;
            }
            self.last_id += 1;
            let (id, levels) = (self.last_id, self.levels.clone());
            let Asked { cursor, talking, .. } = *broker;
            broker.open =
                Some(Question { id, talking, asked: now, moved: now, got: HashSet::new(), end: None });
            questions.push((index, Message::Ask { id, levels, cursor, talking }));
        }
        questions
    }

    /// Asks all brokers for everything: what was known is not any more.
    pub(crate) fn anew(&mut self) {
        for broker in &mut self.brokers {
            (broker.open, broker.next, broker.cursor) = (None, 0, None);
        }
    }

    /// Asks this broker as soon as possible, also for what still talks: it was not heard. No cursor covers what it published
    /// meanwhile of a program that still talks, and program and broker may both be gone before the next frame.
    pub fn back(&mut self, broker: usize) {
        if let Some(broker) = self.brokers.get_mut(broker) {
            (broker.open, broker.next, broker.talking) = (None, 0, true);
        }
    }

    /// Asks this broker also for what still talks, when it is asked next: something that it published was left out for want
    /// of room, so there is no hurry to get more.
    pub(crate) fn missed(&mut self, broker: usize) {
        if let Some(broker) = self.brokers.get_mut(broker) {
            broker.talking = true;
            if let Some(open) = &mut broker.open {
                open.talking = false;
            }
        }
    }

    /// Notes that frame `index` of an answer has been merged.
    pub fn kept(&mut self, broker: usize, id: u64, index: u64, now: u64) {
        if let Some(open) = self.open(broker, id) {
            open.got.insert(index);
            open.moved = now;
            self.close(broker, now);
        }
    }

    /// Notes the end of an answer, which may come before its frames.
    pub fn done(&mut self, broker: usize, id: u64, count: u64, cursor: Cursor, now: u64) {
        if let Some(open) = self.open(broker, id) {
            open.end = Some((count, cursor));
            open.moved = now;
            self.close(broker, now);
        }
    }

    /// Whether every broker has answered of late; only then time counts for forgetting.
    pub fn is_answered(&self, now: u64) -> bool {
        let patience = 3 * self.interval;
        self.brokers.iter().all(|b| b.answered.is_some_and(|at| now <= at.saturating_add(patience)))
    }

    fn open(&mut self, broker: usize, id: u64) -> Option<&mut Question> {
        self.brokers.get_mut(broker)?.open.as_mut().filter(|open| open.id == id)
    }

    /// Moves the cursor if the whole answer has been merged.
    fn close(&mut self, broker: usize, now: u64) {
        let interval = self.interval;
        let Some(broker) = self.brokers.get_mut(broker) else { return };
        let Some(open) = &broker.open else { return };
        if let Some((count, cursor)) = open.end
            && open.got.len() as u64 >= count
        {
            broker.next = open.asked.saturating_add(interval);
            broker.cursor = Some(cursor);
            broker.talking &= !open.talking;
            broker.answered = Some(now);
            broker.open = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(asking: &mut Asking, now: u64) -> Vec<(usize, u64, Option<Cursor>)> {
        let due = asking.due(now).into_iter();
        let parts = due.map(|(broker, message)| match message {
            Message::Ask { id, cursor, talking: false, .. } => (broker, id, cursor),
            other => panic!("{other:?}"),
        });
        parts.collect()
    }

    fn cursor(position: u64) -> Cursor {
        Cursor { boot: [1; 16], position }
    }

    #[test]
    fn every_broker_is_asked_again_and_again_until_it_has_answered_in_whole() {
        let mut asking = Asking::new(2, &["info".into()], 5);
        assert_eq!(ask(&mut asking, 10), [(0, 1, None), (1, 2, None)]);
        assert_eq!(ask(&mut asking, 12), []);
        asking.done(0, 1, 2, cursor(7), 13);
        asking.kept(0, 1, 1, 13);
        asking.kept(0, 1, 1, 13);
        assert!(!asking.is_answered(13));
        assert_eq!(ask(&mut asking, 15), [(1, 3, None)], "the first answer still moves");
        asking.kept(1, 2, 0, 15);
        asking.done(1, 2, 1, cursor(99), 15);
        assert!(!asking.is_answered(15), "that question was given up");
        assert_eq!(ask(&mut asking, 18), [(0, 4, None)], "one frame was lost");
        asking.done(0, 4, 0, cursor(8), 19);
        asking.done(1, 3, 0, cursor(9), 19);
        assert!(asking.is_answered(19) && asking.is_answered(34) && !asking.is_answered(35));
        assert_eq!(ask(&mut asking, 20), [(1, 5, Some(cursor(9)))]);
        assert_eq!(ask(&mut asking, 23), [(0, 6, Some(cursor(8)))]);
    }

    #[test]
    fn of_a_broker_that_was_not_heard_what_talks_is_wanted_until_it_has_answered_in_whole() {
        let mut asking = Asking::new(1, &[], 5);
        let ask = |asking: &mut Asking, now| match &asking.due(now)[..] {
            [(0, Message::Ask { id, cursor, talking, .. })] => (*id, *cursor, *talking),
            other => panic!("{other:?}"),
        };
        assert_eq!(ask(&mut asking, 10), (1, None, false));
        asking.done(0, 1, 0, cursor(7), 11);
        asking.back(0);
        assert_eq!(ask(&mut asking, 12), (2, Some(cursor(7)), true));
        asking.done(0, 2, 1, cursor(8), 12);
        assert_eq!(ask(&mut asking, 17), (3, Some(cursor(7)), true), "a frame of the answer was lost");
        asking.missed(0);
        asking.done(0, 3, 0, cursor(8), 18);
        assert_eq!(ask(&mut asking, 22), (4, Some(cursor(8)), true), "the last answer may have been older");
        asking.done(0, 4, 0, cursor(9), 23);
        assert!(asking.due(26).is_empty());
        asking.missed(0);
        assert!(asking.due(26).is_empty(), "there is no hurry");
        assert_eq!(ask(&mut asking, 27), (5, Some(cursor(9)), true));
        asking.back(0);
        assert_eq!(ask(&mut asking, 27), (6, Some(cursor(9)), true), "the last one may never be answered");
        asking.done(0, 6, 0, cursor(10), 28);
        assert_eq!(ask(&mut asking, 32), (7, Some(cursor(10)), false));
    }
}
