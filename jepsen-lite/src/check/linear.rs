//! Linearizability of each register: is there any order of its operations that keeps to time and explains every answer?
//!
//! This checker believes no revision that a node tells, so it is independent of [`super::replay`]. It works key by key, which
//! is sound: a history is linearizable exactly when it is for every object alone (Herlihy and Wing 1990, §3.3).
//!
//! Only writes and linearizable reads count. A condition "last changed at revision 17" is taken as "last written by the
//! operation that the client had seen there", which is the same while the registry works and needs no revision.

mod register;
mod search;
mod shrink;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{Finding, Judgement};
use crate::history::{History, OpId, Thing};
use register::{RegisterOp, read_operation};
use search::{Bounds, Conclusion, Timed, search};

/// Longest time for all registers together.
const TIME_MAX: Duration = Duration::from_secs(60);
/// Most bytes of remembered states, over all threads.
const BYTES_MAX: usize = 1 << 30;
/// Longest time to make a failing history of one register shorter.
const SHRINK_MAX: Duration = Duration::from_secs(5);

pub(super) fn check(history: &History) -> Judgement {
    let mut judgement = Judgement::new("linear");
    let registers: Vec<(&Thing, Vec<Timed<RegisterOp>>)> = registers(history).into_iter().collect();
    let start = Instant::now();
    let conclusions = conclude_all(&registers, start + TIME_MAX);
    let mut states = 0;
    for ((thing, ops), (conclusion, visited)) in registers.iter().zip(conclusions) {
        states += visited;
        match conclusion {
            Conclusion::Linearizable => {}
            Conclusion::Unknown => judgement.findings.push(Finding::unknown(
                "bound reached",
                format!("{thing}: {} operations, undecided after {visited} states", ops.len()),
            )),
            Conclusion::Illegal => {
                let few = shrink::shrink(ops, Instant::now() + SHRINK_MAX);
                let ids: Vec<OpId> = few.iter().map(|timed| timed.id).collect();
                let what = format!(
                    "{thing}: no order of these {} of its {} operations explains their answers",
                    ids.len(),
                    ops.len()
                );
                judgement.findings.push(Finding::invalid("not linearizable", what, ids));
            }
        }
    }
    judgement.figure("registers", registers.len());
    judgement.figure("operations", registers.iter().map(|(_, ops)| ops.len()).sum::<usize>());
    judgement.figure("states", states);
    judgement
}

/// What counts, by thing.
fn registers(history: &History) -> BTreeMap<&Thing, Vec<Timed<RegisterOp>>> {
    let mut registers: BTreeMap<&Thing, Vec<Timed<RegisterOp>>> = BTreeMap::new();
    for operation in history.operations.values() {
        if let Some((thing, op)) = read_operation(operation) {
            let timed = Timed { id: operation.id, op, called: operation.invoked, returned: operation.returned };
            registers.entry(thing).or_default().push(timed);
        }
    }
    registers
}

/// Concludes for every register, on all processors; in the order of `registers`.
fn conclude_all(registers: &[(&Thing, Vec<Timed<RegisterOp>>)], until: Instant) -> Vec<(Conclusion, usize)> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let bounds = Bounds { until, bytes: BYTES_MAX / threads };
    let (next, results) = (AtomicUsize::new(0), Mutex::new(vec![(Conclusion::Unknown, 0); registers.len()]));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((index, (_, ops))) = take(&next, registers) {
                    let concluded = search(ops, None, bounds);
                    if let Ok(mut results) = results.lock() {
                        results[index] = concluded;
                    }
                }
            });
        }
    });
    results.into_inner().unwrap_or_default()
}

fn take<'r, T>(next: &AtomicUsize, all: &'r [T]) -> Option<(usize, &'r T)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    Some((index, all.get(index)?))
}
