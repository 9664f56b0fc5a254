//! Sums over classes, in GPU-milli times milliseconds.

use super::class::{Class, Group, LossCause};

/// What a window's GPU time went into.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Totals {
    classes: [u128; Class::COUNT],
    lost: [u128; LossCause::COUNT],
    pub(super) capacity: u128,
    pub(super) overbooked: u128,
}

impl Totals {
    pub fn of(&self, class: Class) -> u128 {
        self.classes[class.at()]
    }

    /// The part of [`Class::Lost`] with this cause.
    pub fn lost_by(&self, cause: LossCause) -> u128 {
        self.lost[cause.at()]
    }

    pub fn group(&self, group: Group) -> u128 {
        Class::ALL.into_iter().filter(|class| class.group() == group).map(|class| self.of(class)).sum()
    }

    /// What there was: the capacity at each instant, summed over the window.
    pub fn capacity(&self) -> u128 {
        self.capacity
    }

    /// What was booked beyond the capacity of a node. A live scheduler that adopts what runs can come to this; the lab cannot.
    pub fn overbooked(&self) -> u128 {
        self.overbooked
    }

    /// All classes together. When no work is pending any more it equals capacity plus overbooked, exactly.
    pub fn sum(&self) -> u128 {
        self.classes.iter().sum()
    }

    /// Whether the classes are a partition of the capacity. Only once the window is closed.
    pub fn is_exact(&self) -> bool {
        self.sum() == self.capacity + self.overbooked && self.lost.iter().sum::<u128>() == self.of(Class::Lost)
    }

    pub(super) fn add(&mut self, class: Class, amount: u128) {
        self.classes[class.at()] += amount;
    }

    pub(super) fn add_lost(&mut self, cause: LossCause, amount: u128) {
        self.classes[Class::Lost.at()] += amount;
        self.lost[cause.at()] += amount;
    }
}
