//! What is to happen, in the order (time, number). The events stay where they are: only times and places move while they are sorted.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

pub(crate) struct Agenda<E> {
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    events: Vec<Option<E>>,
    free: Vec<usize>,
    numbered: u64,
}

/// Something that is due.
pub(crate) struct Due<E> {
    pub(crate) at: u64,
    pub(crate) number: u64,
    pub(crate) event: E,
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), events: Vec::new(), free: Vec::new(), numbered: 0 }
    }
}

impl<E> Agenda<E> {
    /// True when nothing comes before it now.
    pub(crate) fn push(&mut self, at: u64, event: E) -> bool {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.events[slot] = Some(event);
                slot
            }
            None => {
                self.events.push(Some(event));
                self.events.len() - 1
            }
        };
        self.numbered += 1;
        let is_next = self.next_at().is_none_or(|first| at < first);
        self.heap.push(Reverse((at, self.numbered, slot)));
        is_next
    }

    /// When the next event is.
    pub(crate) fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at, _, _))| *at)
    }

    pub(crate) fn pop(&mut self) -> Option<Due<E>> {
        let Reverse((at, number, slot)) = self.heap.pop()?;
        self.free.push(slot);
        let event = self.events[slot].take()?;
        Some(Due { at, number, event })
    }
}
