//! The last answers of a check, and the verdict that they add up to.

use crate::Status;

/// Most answers that a threshold may ask for.
const ANSWERS_MAX: u32 = 10;
/// Bits of one answer.
const BITS: u32 = 2;

/// The last [`ANSWERS_MAX`] answers, each as the status it speaks for.
///
/// Invariants:
/// - The newest answer is in the lowest bits.
/// - `count` is at most [`ANSWERS_MAX`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Answers {
    bits: u32,
    count: u32,
}

impl Answers {
    /// Adds an answer that speaks for `Passing`, `Warning` or `Critical`.
    pub(super) fn push(&mut self, status: Status) {
        let code = match status {
            Status::Critical => 2,
            Status::Warning => 1,
            Status::Passing | Status::Starting | Status::Unknown => 0,
        };
        self.bits = self.bits << BITS | code;
        self.count = (self.count + 1).min(ANSWERS_MAX);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The mildest of the last `needed` answers; `None` when there were fewer.
    pub(super) fn mildest(self, needed: u8) -> Option<Status> {
        self.last(needed)?.min()
    }

    /// The worst of the last `needed` answers; `None` when there were fewer.
    pub(super) fn worst(self, needed: u8) -> Option<Status> {
        self.last(needed)?.max()
    }

    /// Failures since the last answer that was none, at most [`ANSWERS_MAX`].
    pub(super) fn failures(self) -> u32 {
        let is_failure = |index: &u32| self.get(*index) == Status::Critical;
        (0..self.count).take_while(is_failure).count() as u32
    }

    fn last(self, needed: u8) -> Option<impl Iterator<Item = Status>> {
        let needed = u32::from(needed).clamp(1, ANSWERS_MAX);
        (needed <= self.count).then(|| (0..needed).map(move |index| self.get(index)))
    }

    /// The answer `index` before the newest.
    fn get(self, index: u32) -> Status {
        match self.bits >> (BITS * index) & 3 {
            0 => Status::Passing,
            1 => Status::Warning,
            _ => Status::Critical,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_looks_at_as_many_answers_as_it_asks_for() {
        let mut answers = Answers::default();
        assert_eq!((answers.mildest(1), answers.worst(1)), (None, None));
        for said in [Status::Critical, Status::Warning, Status::Passing, Status::Critical] {
            answers.push(said);
        }
        assert_eq!((answers.mildest(1), answers.worst(1)), (Some(Status::Critical), Some(Status::Critical)));
        assert_eq!((answers.mildest(3), answers.worst(3)), (Some(Status::Passing), Some(Status::Critical)));
        assert_eq!(answers.mildest(5), None);
        assert_eq!(answers.failures(), 1);
    }

    #[test]
    fn the_eleventh_answer_pushes_the_first_one_out() {
        let mut answers = Answers::default();
        answers.push(Status::Passing);
        (0..10).for_each(|_| answers.push(Status::Critical));
        assert_eq!(answers.mildest(10), Some(Status::Critical));
        assert_eq!(answers.failures(), 10);
        assert_eq!(answers.mildest(200), Some(Status::Critical), "as many as are kept");
    }
}
