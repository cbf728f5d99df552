//! The checker, checked: known histories, every small history against brute force, and large ones that are legal by
//! construction.

use std::time::{Duration, Instant};

use super::super::register::{Condition, RegisterOp};
use super::*;
use crate::dice::Dice;

type Op = Timed<RegisterOp>;

fn bounds() -> Bounds {
    Bounds { until: Instant::now() + Duration::from_secs(60), bytes: 1 << 28 }
}

fn conclude(ops: &[Op]) -> Conclusion {
    search(ops, None, bounds()).0
}

fn op(id: OpId, called: u64, returned: u64, op: RegisterOp) -> Op {
    Timed { id, op, called, returned }
}

fn write(value: OpId) -> RegisterOp {
    RegisterOp::Write { on: Condition::Any, leaves: Some(value) }
}

fn cas(from: OpId, to: OpId) -> RegisterOp {
    RegisterOp::Write { on: Condition::Is(from), leaves: Some(to) }
}

const OPEN: u64 = u64::MAX;

#[track_caller]
fn check(expected: Conclusion, ops: &[Op]) {
    assert_eq!(conclude(ops), expected, "{ops:?}");
}

#[test]
fn a_read_after_a_write_sees_it() {
    check(Conclusion::Linearizable, &[op(1, 0, 1, write(1)), op(2, 2, 3, RegisterOp::Read(Some(1)))]);
    check(Conclusion::Illegal, &[op(1, 0, 1, write(1)), op(2, 2, 3, RegisterOp::Read(None))]);
}

#[test]
fn what_touches_in_time_is_concurrent() {
    check(Conclusion::Linearizable, &[op(1, 0, 2, write(1)), op(2, 2, 3, RegisterOp::Read(None))]);
}

#[test]
fn reads_beside_a_write_do_not_go_back() {
    let reads = |first, second| {
        vec![op(1, 0, 10, write(1)), op(2, 1, 2, RegisterOp::Read(first)), op(3, 3, 4, RegisterOp::Read(second))]
    };
    check(Conclusion::Linearizable, &reads(None, Some(1)));
    check(Conclusion::Illegal, &reads(Some(1), None));
}

#[test]
fn an_open_write_may_happen_late_or_never_and_only_once() {
    let open = op(1, 0, OPEN, write(1));
    check(Conclusion::Linearizable, &[open, op(2, 5, 6, RegisterOp::Read(None))]);
    check(Conclusion::Linearizable, &[open, op(2, 5, 6, RegisterOp::Read(Some(1)))]);
    let back = [op(2, 5, 6, RegisterOp::Read(Some(1))), op(3, 7, 8, write(3)), op(4, 9, 10, RegisterOp::Read(Some(1)))];
    check(Conclusion::Illegal, &[&[open], back.as_slice()].concat());
}

#[test]
fn an_open_write_does_not_happen_before_it_was_called() {
    check(Conclusion::Illegal, &[op(1, 7, OPEN, write(1)), op(2, 5, 6, RegisterOp::Read(Some(1)))]);
}

#[test]
fn of_two_conditional_writes_on_one_state_one_wins() {
    let start = op(1, 0, 1, write(1));
    check(Conclusion::Illegal, &[start, op(2, 2, 9, cas(1, 2)), op(3, 3, 8, cas(1, 3))]);
    let refused = op(3, 3, 8, RegisterOp::Refused(Condition::Is(1)));
    check(Conclusion::Linearizable, &[start, op(2, 2, 9, cas(1, 2)), refused]);
    check(Conclusion::Illegal, &[start, refused]);
}

#[test]
fn a_search_without_time_or_room_says_that_it_does_not_know() {
    let ops = generate(3_000, 12, 5, 1);
    let late = Bounds { until: Instant::now(), ..bounds() };
    assert_eq!(search(&ops, None, late).0, Conclusion::Unknown);
    let small = Bounds { bytes: 1_000, ..bounds() };
    assert_eq!(search(&ops, None, small).0, Conclusion::Unknown);
}

/// Whether some order of `ops` works, by trying all.
fn brute_force(ops: &[Op]) -> bool {
    fn go(ops: &[Op], taken: &mut Vec<bool>, state: Option<OpId>) -> bool {
        if ops.iter().zip(taken.iter()).all(|(op, &taken)| taken || op.returned == OPEN) {
            return true;
        }
        for index in 0..ops.len() {
            let may_be_next = !taken[index]
                && ops.iter().zip(taken.iter()).all(|(other, &taken)| taken || other.returned >= ops[index].called);
            let Some(after) = ops[index].op.step(&state).filter(|_| may_be_next) else { continue };
            taken[index] = true;
            if go(ops, taken, after) {
                return true;
            }
            taken[index] = false;
        }
        false
    }
    go(ops, &mut vec![false; ops.len()], None)
}

#[test]
fn every_history_of_three_operations_is_judged_as_brute_force_judges_it() {
    let kinds = [
        RegisterOp::Read(None),
        RegisterOp::Read(Some(1)),
        RegisterOp::Read(Some(2)),
        write(1),
        write(2),
        cas(1, 2),
        RegisterOp::Write { on: Condition::Exists, leaves: None },
        RegisterOp::Write { on: Condition::Absent, leaves: Some(1) },
        RegisterOp::Refused(Condition::Is(1)),
        RegisterOp::Refused(Condition::Absent),
    ];
    let mut counts = [0_usize; 2];
    for times in interleavings() {
        for number in 0..kinds.len().pow(3) {
            let kind = |place: u32| kinds[number / kinds.len().pow(place) % kinds.len()];
            for open in [None, Some(0), Some(2)] {
                let returned = |index: usize| if open == Some(index) { OPEN } else { times[index].1 };
                let ops: Vec<Op> =
                    (0..3).map(|index| op(index as u64, times[index].0, returned(index), kind(index as u32))).collect();
                // An open read is no operation: nobody saw its answer.
                if ops.iter().any(|op| op.returned == OPEN && op.op.is_pure()) {
                    continue;
                }
                let expected = brute_force(&ops);
                counts[usize::from(expected)] += 1;
                assert_eq!(conclude(&ops) == Conclusion::Linearizable, expected, "{ops:?}");
            }
        }
    }
    assert!(counts.iter().all(|&count| count > 10_000), "one side was hardly tried: {counts:?}");
}

/// Every way in which three operations can follow and overlap each other, as times of call and return.
fn interleavings() -> Vec<[(u64, u64); 3]> {
    fn go(times: &mut Vec<usize>, all: &mut Vec<[(u64, u64); 3]>) {
        if times.len() == 6 {
            let place = |index: usize, nth: usize| {
                times.iter().enumerate().filter(|(_, who)| **who == index).nth(nth).expect("each stands twice").0 as u64
            };
            return all.push([0, 1, 2].map(|index| (place(index, 0), place(index, 1))));
        }
        for index in 0..3 {
            if times.iter().filter(|who| **who == index).count() < 2 {
                times.push(index);
                go(times, all);
                times.pop();
            }
        }
    }
    let mut all = Vec::new();
    go(&mut Vec::new(), &mut all);
    assert_eq!(all.len(), 90);
    all
}

/// A legal history of a real register with `clients` clients, of whose writes `open` in 1,000 are never answered.
fn generate(count: usize, clients: usize, open: u64, seed: u64) -> Vec<Op> {
    struct Pending {
        called: u64,
        op: RegisterOp,
        is_open: bool,
        applied: bool,
        id: OpId,
    }
    let mut dice = Dice::new(seed);
    let (mut ops, mut state) = (Vec::new(), None);
    let mut pending: Vec<Option<Pending>> = (0..clients).map(|_| None).collect();
    let (mut now, mut id) = (0, 0);
    while ops.len() < count {
        now += 1;
        let client = dice.below(clients);
        match pending[client].take() {
            None => {
                id += 1;
                let op = match dice.below(10) {
                    0..5 => RegisterOp::Read(None),
                    5..8 => write(id),
                    _ => cas(state.unwrap_or(id), id),
                };
                let is_open = !op.is_pure() && dice.roll() % 1000 < open;
                pending[client] = Some(Pending { called: now, op, is_open, applied: false, id });
            }
            Some(mut one) if !one.applied => {
                one.applied = true;
                one.op = match (one.op, one.op.step(&state)) {
                    (RegisterOp::Read(_), _) => RegisterOp::Read(state),
                    (op, Some(_)) if one.is_open && dice.chance(50) => op,
                    (op, Some(after)) => {
                        state = after;
                        op
                    }
                    (RegisterOp::Write { on, .. }, None) if !one.is_open => RegisterOp::Refused(on),
                    (op, None) => op,
                };
                pending[client] = Some(one);
            }
            Some(one) => {
                ops.push(op(one.id, one.called, if one.is_open { OPEN } else { now }, one.op));
            }
        }
    }
    // What is under way at the end is open, and may have been applied.
    ops.extend(
        pending.into_iter().flatten().filter(|one| !one.op.is_pure()).map(|one| op(one.id, one.called, OPEN, one.op)),
    );
    ops
}

#[test]
fn what_a_real_register_does_is_linearizable() {
    for seed in 0..200 {
        let ops = generate(300, 2 + (seed % 9) as usize, seed % 20, seed);
        assert_eq!(conclude(&ops), Conclusion::Linearizable, "seed {seed}");
    }
}

#[test]
fn a_stale_read_in_a_long_history_is_found() {
    for seed in 0..30 {
        let mut ops = generate(1_000, 8, 3, seed);
        let reads: Vec<usize> = (0..ops.len()).filter(|&at| matches!(ops[at].op, RegisterOp::Read(Some(_)))).collect();
        let [early, late] = [reads[reads.len() / 10], reads[reads.len() * 9 / 10]];
        ops[late].op = ops[early].op;
        assert_eq!(conclude(&ops), Conclusion::Illegal, "seed {seed}");
    }
}

#[test]
fn small_random_histories_are_judged_as_brute_force_judges_them() {
    let mut counts = [0_usize; 2];
    for seed in 0..3_000 {
        let mut ops = generate(7, 3, 100, seed);
        let mut dice = Dice::new(seed + 1_000_000);
        if let Some(read) = ops.iter_mut().find(|op| matches!(op.op, RegisterOp::Read(_)))
            && dice.chance(70)
        {
            read.op = RegisterOp::Read(Some(dice.between(1, 6)));
        }
        let expected = brute_force(&ops);
        counts[usize::from(expected)] += 1;
        assert_eq!(conclude(&ops) == Conclusion::Linearizable, expected, "seed {seed}: {ops:?}");
    }
    assert!(counts.iter().all(|&count| count > 300), "one side was hardly tried: {counts:?}");
}
