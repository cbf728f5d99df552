//! Who sends and never answers. Most often such a node advertises an address that is not its own, and would wait outside
//! for ever without anybody knowing why.

use std::collections::BTreeMap;
use std::time::Duration;

use rollcall_types::NodeName;
use tokio::time::Instant;

use super::rate::{Rate, Tokens};
use crate::seal::Sender;

/// Names that are watched. When full, the one that was challenged longest ago gives way.
const NAMES_MAX: usize = 256;
/// A process is mute when it was challenged so often, for so long, and answered none of it.
const TIMES: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two lines about one name; a process that sent nothing for so long is watched anew.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// Lines about all names: replayed messages of many former lives look mute too.
const LINES: Rate = Rate { per_second: 0.25, burst: 16 };

#[derive(Debug)]
struct Asked {
    generation: u64,
    since: Instant,
    last: Instant,
    times: u32,
    said: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Mutes {
    asked: BTreeMap<NodeName, Asked>,
    lines: Tokens,
}

impl Mutes {
    pub(super) fn new(now: Instant) -> Self {
        Self { asked: BTreeMap::new(), lines: Tokens::full(LINES, now) }
    }

    /// `process` is challenged. Whether it is time to say that it does not answer.
    pub(super) fn asked(&mut self, process: &Sender, now: Instant) -> bool {
        if !self.asked.contains_key(&process.name) {
            self.make_room();
        }
        let generation = process.generation;
        let fresh = |said| Asked { generation, since: now, last: now, times: 0, said };
        let asked = self.asked.entry(process.name.clone()).or_insert_with(|| fresh(None));
        if asked.generation != generation || now >= asked.last + SAY_EVERY {
            *asked = fresh(asked.said);
        }
        asked.last = now;
        asked.times += 1;
        let is_mute = asked.times >= TIMES && now >= asked.since + PATIENCE;
        let is_due = is_mute && asked.said.is_none_or(|said| now >= said + SAY_EVERY) && self.lines.take(LINES, now);
        if is_due {
            asked.said = Some(now);
        }
        is_due
    }

    /// `process` answered.
    pub(super) fn answered(&mut self, process: &Sender) {
        if self.asked.get(&process.name).is_some_and(|asked| asked.generation == process.generation) {
            self.asked.remove(&process.name);
        }
    }

    fn make_room(&mut self) {
        if self.asked.len() < NAMES_MAX {
            return;
        }
        let oldest = self.asked.iter().min_by_key(|(_, asked)| asked.last).map(|(name, _)| name.clone());
        if let Some(name) = oldest {
            self.asked.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::tests::process;

    #[test]
    fn many_mute_names_take_bounded_lines_and_memory() {
        let start = Instant::now();
        let mut mutes = Mutes::new(start);
        let mut lines_of = |names: usize, from: u64| {
            let moments = (from..from + 10).map(|second| start + Duration::from_secs(second));
            let asked = moments.flat_map(|now| (0..names).map(move |n| (process(&format!("n{n}"), 5, 1), now)));
            let lines = asked.filter(|(mute, now)| mutes.asked(mute, *now)).count();
            (lines, mutes.asked.len())
        };
        assert_eq!(lines_of(200, 0), (LINES.burst as usize + 1, 200), "one more in the four seconds that follow");
        assert_eq!(lines_of(1_000, 10).1, NAMES_MAX);
    }
}
