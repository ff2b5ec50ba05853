//! Text to work on, made up anew in every run and the same in each.

/// Random enough for a demo: xorshift.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit`.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit.max(1)
    }
}

const SYLLABLES: [&str; 16] =
    ["ba", "do", "fe", "gi", "ka", "lu", "mo", "na", "pe", "ri", "so", "ta", "ve", "wi", "xo", "zu"];

/// A word of two to four syllables; low numbers come more often, as in any language.
pub(super) fn word(dice: &mut Dice) -> String {
    let number = dice.below(4096).min(dice.below(4096));
    let syllables = 2 + number % 3;
    (0..syllables).map(|i| SYLLABLES[(number >> (4 * (i % 3))) as usize % SYLLABLES.len()]).collect()
}

/// A document of so many words.
pub(super) fn document(dice: &mut Dice, words: u64) -> String {
    let words: Vec<String> = (0..words).map(|_| word(dice)).collect();
    words.join(" ")
}
