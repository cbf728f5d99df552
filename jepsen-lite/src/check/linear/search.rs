//! The search of Wing and Gong (1993) with the memo of Lowe (2017): operations are put in order one by one, never one before
//! another that had returned when it was called; a configuration that was tried is not tried again.
//!
//! - Calls and returns are a linked list. A call that stands before the first return may come next; taking it removes both of
//!   its entries, and going back puts them in again.
//! - An operation that changes no state is taken as soon as it may be, without looking at alternatives: whatever order
//!   works, works with it moved here. That is a matter of its kind; a write that happens to leave the same state is not such.
//! - An operation that never returned may come at any time after its call, or never. Its client is not reused, so it competes
//!   with everything after it, and such operations make the search long. They are tried last.
//! - A configuration is the set of operations taken and the state. The set is kept as a window: all before it are taken, none
//!   behind it.
//!
//! Time and memory are bounded. A search that reaches a bound says that it does not know.

use std::collections::HashSet;
use std::hash::Hash;
use std::time::Instant;

use crate::history::OpId;

/// An operation on a state.
pub(super) trait Step {
    /// What operations change.
    type State: Clone + Eq + Hash + Default;
    /// The state after it; `None` when it cannot have had this outcome here.
    fn step(&self, state: &Self::State) -> Option<Self::State>;
    /// Whether it leaves every state as it is.
    fn is_pure(&self) -> bool;
}

/// An operation with its times; `returned` is `u64::MAX` for one that is open for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timed<O> {
    pub(super) id: OpId,
    pub(super) op: O,
    pub(super) called: u64,
    pub(super) returned: u64,
}

/// How far a search may go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) until: Instant,
    /// Bytes of remembered configurations.
    pub(super) bytes: usize,
}

/// What a search came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conclusion {
    Linearizable,
    Illegal,
    Unknown,
}

/// Looks at the clock after so many configurations.
const CLOCK_EVERY: usize = 1024;

/// Looks for an order of `ops`; with `open_from`, those that returned at that time or later count as open. Also says how many
/// configurations it saw.
pub(super) fn search<O: Step>(ops: &[Timed<O>], open_from: Option<u64>, bounds: Bounds) -> (Conclusion, usize) {
    let mut search = Search::new(ops, open_from.unwrap_or(u64::MAX));
    let conclusion = search.run(bounds);
    (conclusion, search.seen.len())
}

/// A configuration, exactly.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Configuration<S> {
    /// Words of `done` that are full before the window.
    full: usize,
    window: Box<[u64]>,
    open: Box<[u64]>,
    state: S,
}

/// Which operation is taken next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Candidate {
    /// By its place among those that returned.
    Done(usize),
    /// By its place among the open ones.
    Open(usize),
}

/// A choice that was made, and those that were not tried yet.
struct Frame<S> {
    /// The next one last.
    rest: Vec<Candidate>,
    taken: Option<Candidate>,
    state_before: S,
}

/// Invariants:
/// - `next` and `prev` link the entries of operations that are not taken, in the order of time.
/// - `done` and `open_taken` hold what the `taken` of all frames say, and `left` counts the rest of those that returned.
struct Search<'o, O: Step> {
    done_ops: Vec<&'o Timed<O>>,
    open_ops: Vec<&'o Timed<O>>,
    /// Entry `k` is the call of the operation at `k`, entry `n + k` its return, `2n` the head, `2n + 1` the tail.
    next: Vec<usize>,
    prev: Vec<usize>,
    done: Vec<u64>,
    open_taken: Vec<u64>,
    /// All words of `done` before it are full.
    full: usize,
    /// No word of `done` from here on was ever touched.
    touched: usize,
    left: usize,
    state: O::State,
    seen: HashSet<Configuration<O::State>>,
    bytes: usize,
    stack: Vec<Frame<O::State>>,
}

impl<'o, O: Step> Search<'o, O> {
    fn new(ops: &'o [Timed<O>], open_from: u64) -> Self {
        let (mut done_ops, mut open_ops): (Vec<_>, Vec<_>) = ops.iter().partition(|timed| timed.returned < open_from);
        done_ops.sort_by_key(|timed| timed.called);
        // One that changes nothing and showed nothing explains nothing.
        open_ops.retain(|timed| !timed.op.is_pure());
        open_ops.sort_by_key(|timed| timed.called);
        let count = done_ops.len();
        let mut entries: Vec<(u64, bool, usize)> = Vec::with_capacity(2 * count);
        for (index, timed) in done_ops.iter().enumerate() {
            // At the same time calls come first: what touches is concurrent.
            entries.push((timed.called, false, index));
            entries.push((timed.returned, true, count + index));
        }
        entries.sort_unstable();
        let (mut next, mut prev) = (vec![0; 2 * count + 2], vec![0; 2 * count + 2]);
        let mut last = 2 * count;
        for entry in entries.into_iter().map(|(_, _, entry)| entry).chain([2 * count + 1]) {
            (next[last], prev[entry]) = (entry, last);
            last = entry;
        }
        Self {
            next,
            prev,
            done: vec![0; count / 64 + 1],
            open_taken: vec![0; open_ops.len() / 64 + 1],
            full: 0,
            touched: 0,
            left: count,
            state: O::State::default(),
            seen: HashSet::new(),
            bytes: 0,
            stack: Vec::new(),
            done_ops,
            open_ops,
        }
    }

    fn run(&mut self, bounds: Bounds) -> Conclusion {
        let mut ticks = 0;
        while self.left > 0 {
            let rest = self.candidates();
            self.stack.push(Frame { rest, taken: None, state_before: self.state.clone() });
            if !self.advance() {
                return Conclusion::Illegal;
            }
            ticks += 1;
            if self.bytes > bounds.bytes || ticks % CLOCK_EVERY == 0 && Instant::now() > bounds.until {
                return Conclusion::Unknown;
            }
        }
        Conclusion::Linearizable
    }

    /// What may be taken here, the one to try first last.
    fn candidates(&self) -> Vec<Candidate> {
        let count = self.done_ops.len();
        let (mut found, mut entry) = (Vec::new(), self.next[2 * count]);
        while entry < count {
            let op = &self.done_ops[entry].op;
            if op.step(&self.state).is_some() {
                if op.is_pure() {
                    return vec![Candidate::Done(entry)];
                }
                found.push(entry);
            }
            entry = self.next[entry];
        }
        let first_return = self.done_ops.get(entry.wrapping_sub(count)).map_or(u64::MAX, |timed| timed.returned);
        let is_candidate = |(index, timed): &(usize, &&Timed<O>)| {
            self.open_taken[index / 64] >> (index % 64) & 1 == 0
                && timed.op.step(&self.state).is_some_and(|after| after != self.state)
        };
        let open = self.open_ops.iter().enumerate().take_while(|(_, timed)| timed.called <= first_return);
        let mut rest: Vec<Candidate> = open.filter(is_candidate).map(|(index, _)| Candidate::Open(index)).collect();
        // Whoever returns first is likeliest to be first.
        found.sort_unstable_by_key(|&index| std::cmp::Reverse(self.done_ops[index].returned));
        rest.extend(found.into_iter().map(Candidate::Done));
        rest
    }

    /// Takes the next candidate that leads to a new configuration, going back as far as needed; `false` when there is none.
    fn advance(&mut self) -> bool {
        while let Some(mut frame) = self.stack.pop() {
            if let Some(taken) = frame.taken.take() {
                self.put_back(taken);
                self.state = frame.state_before.clone();
            }
            while let Some(candidate) = frame.rest.pop() {
                let (op, is_forced) = match candidate {
                    Candidate::Done(index) => (&self.done_ops[index].op, self.done_ops[index].op.is_pure()),
                    Candidate::Open(index) => (&self.open_ops[index].op, false),
                };
                let Some(after) = op.step(&self.state) else { continue };
                self.take(candidate);
                // There is one way only to take what changes nothing, so there is nothing to remember.
                if is_forced || self.remember(&after) {
                    self.state = after;
                    frame.taken = Some(candidate);
                    self.stack.push(frame);
                    return true;
                }
                self.put_back(candidate);
            }
        }
        false
    }

    fn take(&mut self, candidate: Candidate) {
        match candidate {
            Candidate::Open(index) => self.open_taken[index / 64] |= 1 << (index % 64),
            Candidate::Done(index) => {
                self.left -= 1;
                for entry in [index, self.done_ops.len() + index] {
                    let (before, after) = (self.prev[entry], self.next[entry]);
                    (self.next[before], self.prev[after]) = (after, before);
                }
                self.done[index / 64] |= 1 << (index % 64);
                self.touched = self.touched.max(index / 64 + 1);
                while self.done.get(self.full) == Some(&u64::MAX) {
                    self.full += 1;
                }
            }
        }
    }

    fn put_back(&mut self, candidate: Candidate) {
        match candidate {
            Candidate::Open(index) => self.open_taken[index / 64] &= !(1 << (index % 64)),
            Candidate::Done(index) => {
                self.left += 1;
                for entry in [self.done_ops.len() + index, index] {
                    let (before, after) = (self.prev[entry], self.next[entry]);
                    (self.next[before], self.prev[after]) = (entry, entry);
                }
                self.done[index / 64] &= !(1 << (index % 64));
                self.full = self.full.min(index / 64);
            }
        }
    }

    /// Notes the configuration with this state; `false` when it was seen before.
    fn remember(&mut self, state: &O::State) -> bool {
        let mut window = &self.done[self.full.min(self.touched)..self.touched];
        while let Some((0, shorter)) = window.split_last() {
            window = shorter;
        }
        let bytes = size_of::<Configuration<O::State>>() + 8 * (window.len() + self.open_taken.len());
        let configuration = Configuration {
            full: self.full,
            window: window.into(),
            open: self.open_taken.as_slice().into(),
            state: state.clone(),
        };
        let is_new = self.seen.insert(configuration);
        self.bytes += if is_new { bytes } else { 0 };
        is_new
    }
}

#[cfg(test)]
mod tests;
