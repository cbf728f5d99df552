//! Making a failing history shorter, so that people see why it fails.
//!
//! Each step keeps what is left provably wrong: a history that is linearizable stays so when it is cut off in time (what was
//! under way becomes open), and when an operation that changes nothing is left out. So whatever fails afterwards, failed
//! before. Writes stay, as leaving one out could make up a failure.

use std::time::Instant;

use super::register::{Condition, RegisterOp};
use super::search::{Bounds, Conclusion, Step, Timed, search};
use crate::history::OpId;

/// Bytes of remembered configurations in one try.
const BYTES_MAX: usize = 1 << 28;

/// A short part of `ops` that is not linearizable, in the order of calls. `ops` itself must not be.
pub(super) fn shrink(ops: &[Timed<RegisterOp>], until: Instant) -> Vec<Timed<RegisterOp>> {
    let bounds = Bounds { until, bytes: BYTES_MAX };
    let fails = |ops: &[Timed<RegisterOp>]| search(ops, None, bounds).0 == Conclusion::Illegal;
    let mut ops = cut_off(ops, &fails);
    ops.sort_by_key(|timed| timed.called);
    // Halves first, then smaller and smaller parts, as in delta debugging (Zeller and Hildebrandt 2002).
    let mut size = ops.len() / 2;
    while size > 0 && Instant::now() < until {
        let mut start = 0;
        while start < ops.len() && Instant::now() < until {
            let end = (start + size).min(ops.len());
            let without =
                |index: usize, timed: &Timed<RegisterOp>| !(start..end).contains(&index) || !timed.op.is_pure();
            let fewer: Vec<_> = ops
                .iter()
                .enumerate()
                .filter(|(index, timed)| without(*index, timed))
                .map(|(_, timed)| *timed)
                .collect();
            if fewer.len() < ops.len() && fails(&fewer) {
                ops = fewer;
            } else {
                start = end;
            }
        }
        size /= 2;
    }
    drop_unseen(ops, &fails)
}

/// The shortest beginning in time that fails.
fn cut_off(ops: &[Timed<RegisterOp>], fails: &impl Fn(&[Timed<RegisterOp>]) -> bool) -> Vec<Timed<RegisterOp>> {
    let mut ends: Vec<u64> = ops.iter().map(|timed| timed.returned).filter(|&returned| returned != u64::MAX).collect();
    ends.sort_unstable();
    let beginning = |end: u64| -> Vec<Timed<RegisterOp>> {
        let begun = ops.iter().filter(|timed| timed.called <= end);
        begun
            .map(|timed| Timed { returned: if timed.returned <= end { timed.returned } else { u64::MAX }, ..*timed })
            .collect()
    };
    let shortest = ends.partition_point(|&end| !fails(&beginning(end)));
    ends.get(shortest).map_or_else(|| ops.to_vec(), |&end| beginning(end))
}

/// Leaves out open writes that nothing shows or builds on: without them there are fewer orders, but none that matters. That is
/// plain only where no condition asks whether something is there at all, and no refusal says that something was not.
fn drop_unseen(ops: Vec<Timed<RegisterOp>>, fails: &impl Fn(&[Timed<RegisterOp>]) -> bool) -> Vec<Timed<RegisterOp>> {
    let is_plain = |timed: &Timed<RegisterOp>| match timed.op {
        RegisterOp::Read(_) => true,
        RegisterOp::Write { on, .. } => matches!(on, Condition::Any | Condition::Is(_)),
        RegisterOp::Refused(_) => false,
    };
    if !ops.iter().all(is_plain) {
        return ops;
    }
    let shows = |timed: &Timed<RegisterOp>, value: OpId| match timed.op {
        RegisterOp::Read(shown) => shown == Some(value),
        RegisterOp::Write { on, .. } => on == Condition::Is(value),
        RegisterOp::Refused(_) => false,
    };
    let is_needed = |timed: &&Timed<RegisterOp>| match timed.op {
        RegisterOp::Write { leaves: Some(value), .. } if timed.returned == u64::MAX => {
            ops.iter().any(|other| shows(other, value))
        }
        _ => true,
    };
    let few: Vec<_> = ops.iter().filter(is_needed).copied().collect();
    if fails(&few) { few } else { ops }
}
