use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use zibrato_core::ask::Message;
use zibrato_core::clock;
use zibrato_core::frame::{Frame, InstanceId, encode_head, encode_row};
use zibrato_core::level::topic;
use zibrato_core::publish::Set;
use zibrato_transport::{Asker, Broker};

/// How long after it was handed over something is handed over again.
const AGAIN: Duration = Duration::from_millis(250);
/// How long the other brokers are tried after one has acknowledged a parcel: one of them may be gone for good.
const LAGGARD: Duration = Duration::from_secs(60);
/// Most parcels that wait for a first acknowledgement; of more, the oldest go.
const MOST: usize = 10_000;

/// What must not be lost: a set that no later one repeats.
#[derive(Debug, Clone)]
pub(crate) struct Parcel {
    pub(crate) level: String,
    contents: Contents,
}

#[derive(Debug, Clone)]
enum Contents {
    Set(Set),
    Spilled {
        frames: Vec<Frame>,
        /// When `sent_at` of these frames was, on the clock of this process.
        stamped: u64,
    },
}

type Number = (InstanceId, String, u64);

impl Parcel {
    pub(crate) fn of_set(set: Set) -> Self {
        Parcel { level: set.level.to_string(), contents: Contents::Set(set) }
    }

    /// All parts of one set, as they were spilled. What their instance would send at `stamped` has the time that they have,
    /// by the clock that the instance went by: how old it is follows from that, and clocks may have been set since.
    pub(crate) fn of_spilled(level: String, frames: Vec<Frame>, stamped: u64) -> Self {
        Parcel { level, contents: Contents::Spilled { frames, stamped } }
    }

    pub(crate) fn was_spilled(&self) -> bool {
        matches!(self.contents, Contents::Spilled { .. })
    }

    fn number(&self) -> Option<Number> {
        let head = match &self.contents {
            Contents::Set(set) => &set.head,
            Contents::Spilled { frames, .. } => &frames.first()?.head,
        };
        Some((head.instance, self.level.clone(), head.sequence))
    }

    /// Its frames, stamped as sent at `now`, with their old sequence.
    pub(crate) fn frames(&self, now: u64) -> Vec<Vec<u8>> {
        match &self.contents {
            Contents::Set(set) => set.frames(now),
            Contents::Spilled { frames, stamped } => {
                frames.iter().map(|frame| later(frame, now.saturating_sub(*stamped))).collect()
            }
        }
    }
}

fn later(frame: &Frame, by: u64) -> Vec<u8> {
    let mut head = frame.head.clone();
    head.sent_at = head.sent_at.saturating_add(by);
    let mut bytes = Vec::new();
    encode_head(&mut bytes, &head, frame.rows.len());
    frame.rows.iter().for_each(|row| encode_row(&mut bytes, row, &head.source));
    bytes
}

/// Hands parcels over to every broker, again and again, until they are acknowledged.
#[derive(Debug)]
pub(crate) struct HandOver {
    brokers: Vec<(mpsc::UnboundedSender<Message>, JoinHandle<Option<String>>)>,
    answers: mpsc::UnboundedReceiver<(usize, Message)>,
    parcels: Vec<(Instant, Parcel)>,
    acknowledged: HashSet<(usize, Number)>,
    last: Option<Instant>,
}

impl HandOver {
    pub(crate) fn start(brokers: &[Broker]) -> Self {
        let (answer, answers) = mpsc::unbounded_channel();
        let start = |(i, broker): (usize, &Broker)| {
            let (say, said) = mpsc::unbounded_channel();
            (say, tokio::spawn(relay(i, Asker::start(broker), said, answer.clone())))
        };
        let brokers = brokers.iter().enumerate().map(start).collect();
        HandOver { brokers, answers, parcels: Vec::new(), acknowledged: HashSet::new(), last: None }
    }

    pub(crate) fn add(&mut self, parcels: impl IntoIterator<Item = Parcel>) {
        let now = Instant::now();
        self.parcels.extend(parcels.into_iter().map(|parcel| (now, parcel)));
        self.last = None;
    }

    /// Hands over what a broker has not acknowledged, unless that was done just now.
    pub(crate) fn repeat(&mut self) {
        if self.last.is_some_and(|last| last.elapsed() < AGAIN) {
            return;
        }
        self.last = Some(Instant::now());
        let now = clock::unix_nanos();
        for (_, parcel) in &self.parcels {
            let Some(number) = parcel.number() else { continue };
            let topic = topic(&parcel.level).into_bytes();
            for (i, (say, _)) in self.brokers.iter().enumerate() {
                if !self.acknowledged.contains(&(i, number.clone())) {
                    for frame in parcel.frames(now) {
                        // A relay only ends with this hand-over.
                        let _ = say.send(Message::Hand { topic: topic.clone(), frame });
                    }
                }
            }
        }
    }

    /// Takes in the acknowledgements that have come.
    pub(crate) fn hear(&mut self) {
        while let Ok((broker, message)) = self.answers.try_recv() {
            self.note(broker, message);
        }
    }

    fn note(&mut self, broker: usize, message: Message) {
        if let Message::Ack { instance, level, sequence } = message {
            self.acknowledged.insert((broker, (instance, level, sequence)));
        }
    }

    /// Goes on until `enough` says so or the deadline has passed.
    pub(crate) async fn until(&mut self, deadline: Instant, enough: impl Fn(&Self) -> bool) {
        while !enough(self) && Instant::now() < deadline {
            self.repeat();
            let again = self.last.map_or(deadline, |last| (last + AGAIN).min(deadline));
            tokio::select! {
                answer = self.answers.recv() => if let Some((broker, message)) = answer {
                    self.note(broker, message);
                },
                () = sleep_until(again) => {}
            }
        }
    }

    /// Whether some broker has acknowledged this one.
    pub(crate) fn is_acknowledged(&self, parcel: &Parcel) -> bool {
        let Some(number) = parcel.number() else { return true };
        (0..self.brokers.len()).any(|broker| self.acknowledged.contains(&(broker, number.clone())))
    }

    fn is_acknowledged_everywhere(&self, parcel: &Parcel) -> bool {
        let Some(number) = parcel.number() else { return true };
        (0..self.brokers.len()).all(|broker| self.acknowledged.contains(&(broker, number.clone())))
    }

    /// Lets go what every broker has acknowledged, or one of them a while ago, and what is too much; says how many
    /// parcels went that no broker has acknowledged.
    pub(crate) fn let_go(&mut self, now: Instant) -> usize {
        let mut parcels = std::mem::take(&mut self.parcels);
        parcels.retain(|(since, parcel)| {
            let late = now.duration_since(*since) > LAGGARD && self.is_acknowledged(parcel);
            !late && !self.is_acknowledged_everywhere(parcel)
        });
        let too_many = parcels.len().saturating_sub(MOST);
        let lost = parcels.drain(..too_many).filter(|(_, parcel)| !self.is_acknowledged(parcel)).count();
        let kept: HashSet<Number> = parcels.iter().filter_map(|(_, parcel)| parcel.number()).collect();
        self.acknowledged.retain(|(_, number)| kept.contains(number));
        self.parcels = parcels;
        lost
    }

    /// Whether each parcel has been acknowledged by some broker.
    pub(crate) fn is_done(&self) -> bool {
        self.parcels.iter().all(|(_, parcel)| self.is_acknowledged(parcel))
    }

    /// Whether each parcel has been acknowledged by every broker.
    pub(crate) fn is_done_everywhere(&self) -> bool {
        self.parcels.iter().all(|(_, parcel)| self.is_acknowledged_everywhere(parcel))
    }

    /// What no broker has acknowledged.
    pub(crate) fn unacknowledged(&self) -> impl Iterator<Item = &Parcel> {
        self.parcels.iter().map(|(_, parcel)| parcel).filter(|parcel| !self.is_acknowledged(parcel))
    }

    /// Ends the connections, and gives why there was none to a broker, in words that fit after "failed to".
    pub(crate) async fn close(self, deadline: Duration) -> Vec<String> {
        let brokers = self.brokers;
        drop(self.answers);
        let mut troubles = Vec::new();
        for (say, task) in brokers {
            drop(say);
            if let Ok(Ok(trouble)) = tokio::time::timeout(deadline, task).await {
                troubles.extend(trouble);
            }
        }
        troubles
    }
}

/// Stands between one broker's asker and the hand-over, which has several.
async fn relay(
    broker: usize,
    mut asker: Asker,
    mut said: mpsc::UnboundedReceiver<Message>,
    answer: mpsc::UnboundedSender<(usize, Message)>,
) -> Option<String> {
    loop {
        tokio::select! {
            message = asker.recv() => drop(answer.send((broker, message))),
            message = said.recv() => match message {
                // What is not taken now is repeated.
                Some(message) => drop(asker.send(message)),
                None => break,
            },
        }
    }
    let trouble = asker.trouble();
    asker.close(Duration::from_millis(50)).await;
    trouble
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use zibrato_core::frame::{Kind, State, Tags, Total};
    use zibrato_core::publish::Publisher;
    use zibrato_core::registry::{Id, Reading};

    fn retired(publisher: &mut Publisher) -> Vec<Set> {
        let (level, name) = ("info".into(), "gone".into());
        let id = Id { level, kind: Kind::Counter, name, source: None, tags: Tags::none() };
        publisher.retire(
            vec![Reading { id: Arc::new(id), born: 1, state: State::Total(Total::whole(1)), traced: false }],
            2,
        )
    }

    fn ack(parcel: &Parcel) -> Message {
        let (instance, level, sequence) = parcel.number().unwrap();
        Message::Ack { instance, level, sequence }
    }

    #[test]
    fn a_broker_that_is_gone_for_good_costs_no_memory() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = runtime.enter();
        let brokers = zibrato_transport::parse_brokers("tcp://127.0.0.1:1,tcp://127.0.0.1:5").unwrap();
        let mut hand_over = HandOver::start(&brokers);
        let mut publisher = Publisher::new("me");
        let parcels: Vec<Parcel> = (0..3).flat_map(|_| retired(&mut publisher)).map(Parcel::of_set).collect();
        hand_over.add(parcels.clone());
        let now = Instant::now();
        hand_over.note(0, ack(&parcels[0]));
        hand_over.note(0, ack(&parcels[1]));
        hand_over.note(1, ack(&parcels[1]));
        assert_eq!((hand_over.let_go(now), hand_over.parcels.len()), (0, 2), "the second is everywhere");
        let later = now + 2 * LAGGARD;
        assert_eq!((hand_over.let_go(later), hand_over.parcels.len()), (0, 1), "the third is nowhere");
        assert!(hand_over.acknowledged.is_empty());
        for _ in 0..MOST {
            hand_over.add(retired(&mut publisher).into_iter().map(Parcel::of_set));
        }
        assert_eq!((hand_over.let_go(later), hand_over.parcels.len()), (1, MOST), "and cannot wait for ever");
    }
}
