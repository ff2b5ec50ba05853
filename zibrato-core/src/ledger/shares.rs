//! A number of places, and who has them.

use std::collections::HashMap;
use std::sync::Arc;

/// Places of which one owner gets more only while it has fewer than are free: alone at most half of them.
#[derive(Debug, Clone)]
pub struct Shares {
    places: usize,
    taken: usize,
    owners: HashMap<Arc<str>, usize>,
}

impl Shares {
    /// So many places, all of them free.
    pub fn new(places: usize) -> Self {
        Shares { places, taken: 0, owners: HashMap::new() }
    }

    /// How many are free.
    pub fn free(&self) -> usize {
        self.places.saturating_sub(self.taken)
    }

    /// How many there are.
    pub fn places(&self) -> usize {
        self.places
    }

    /// Whether an owner may have one more.
    pub fn has_place(&self, owner: &str) -> bool {
        self.owners.get(owner).copied().unwrap_or_default() < self.free()
    }

    /// Takes a place for an owner, whether it may have it or not.
    pub fn enter(&mut self, owner: &str) {
        self.taken += 1;
        match self.owners.get_mut(owner) {
            Some(has) => *has += 1,
            None => drop(self.owners.insert(owner.into(), 1)),
        }
    }

    /// Gives a place of an owner back, if it has one.
    pub fn leave(&mut self, owner: &str) {
        let Some(has) = self.owners.get_mut(owner) else { return };
        (*has, self.taken) = (*has - 1, self.taken - 1);
        if *has == 0 {
            self.owners.remove(owner);
        }
    }
}
