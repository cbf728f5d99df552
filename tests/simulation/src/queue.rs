//! What happens next.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// What is to happen, by time; of two at the same time, the one that was decided first comes first.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<Due<T>>>,
    sequence: u64,
}

#[derive(Debug)]
struct Due<T> {
    at: u64,
    sequence: u64,
    next: T,
}

impl<T> PartialEq for Due<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Due<T> {}

impl<T> PartialOrd for Due<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Due<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), sequence: 0 }
    }

    /// `next` happens at `at`, in microseconds.
    pub(crate) fn push(&mut self, at: u64, next: T) {
        self.sequence += 1;
        self.heap.push(Reverse(Due { at, sequence: self.sequence, next }));
    }

    /// What happens first, and when, if that is not after `end`.
    pub(crate) fn pop_until(&mut self, end: u64) -> Option<(u64, T)> {
        if self.heap.peek().is_none_or(|Reverse(due)| due.at > end) {
            return None;
        }
        self.heap.pop().map(|Reverse(due)| (due.at, due.next))
    }
}
