//! Lines in packets.

use std::ops::Range;

use crate::encode::Unit;

/// What is sent at once: the text, and which of the units are in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) text: String,
    pub(crate) units: Range<usize>,
}

/// Puts units into packets of at most `most` bytes, in order, with line ends between them. None is split; one that is too
/// long has a packet of its own.
pub(crate) fn pack<'a>(units: impl IntoIterator<Item = &'a Unit>, most: usize) -> Vec<Packet> {
    let mut packets: Vec<Packet> = Vec::new();
    for (number, unit) in units.into_iter().enumerate() {
        match packets.last_mut() {
            Some(last) if last.text.len() + 1 + unit.text.len() <= most => {
                last.text.push('\n');
                last.text.push_str(&unit.text);
                last.units.end = number + 1;
            }
            _ => packets.push(Packet { text: unit.text.clone(), units: number..number + 1 }),
        }
    }
    packets
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_unit_is_split_lost_or_moved(
            texts in prop::collection::vec("[a-z]{1,40}(\n[a-z]{1,20})?", 0..60), most in 30usize..200,
        ) {
            let units: Vec<Unit> =
                texts.iter().map(|text| Unit { text: text.clone(), repeatable: false }).collect();
            let packets = pack(&units, most);
            let all: Vec<&str> = packets.iter().map(|packet| packet.text.as_str()).collect();
            prop_assert_eq!(all.join("\n"), texts.join("\n"));
            let mut next = 0;
            for packet in &packets {
                prop_assert!(packet.text.len() <= most || packet.units.len() == 1);
                prop_assert_eq!(packet.units.start, next);
                next = packet.units.end;
                prop_assert_eq!(&packet.text, &texts[packet.units.clone()].join("\n"));
            }
            prop_assert_eq!(next, units.len());
            // Two that follow each other would not have fitted into one.
            for pair in packets.windows(2) {
                let first = texts[pair[1].units.start].len();
                prop_assert!(pair[0].text.len() + 1 + first > most);
            }
        }
    }
}
