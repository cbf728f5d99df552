//! What goes wrong, and when: drawn from the seed before the run begins.

use std::fmt;

use crate::dice::Dice;

/// A second, in microseconds.
pub(crate) const SECOND: u64 = 1_000_000;
/// Nothing goes wrong before this: everybody comes to know everybody.
const CALM: u64 = 3 * SECOND;

/// Something that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The process of a node ends; at the end of the fault it starts again with what it has on disk.
    Crash {
        /// Which.
        node: usize,
    },
    /// The process of a node is not run.
    Stall {
        /// Which.
        node: usize,
    },
    /// Nothing passes between these nodes and the others.
    Split {
        /// Which.
        part: Vec<usize>,
    },
    /// Nothing passes from one node to another one.
    OneWay {
        /// From whom.
        from: usize,
        /// To whom.
        to: usize,
    },
    /// So many datagrams and requests of a hundred are lost.
    Loss {
        /// How many.
        percent: u64,
    },
    /// What is sent takes longer.
    Delay {
        /// Mean, in milliseconds.
        millis: u64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash { node } => write!(f, "n{node} crashes"),
            Self::Stall { node } => write!(f, "n{node} is not run"),
            Self::Split { part } => {
                let names: Vec<String> = part.iter().map(|node| format!("n{node}")).collect();
                write!(f, "{} cut off", names.join(" and "))
            }
            Self::OneWay { from, to } => write!(f, "nothing passes from n{from} to n{to}"),
            Self::Loss { percent } => write!(f, "{percent} % are lost"),
            Self::Delay { millis } => write!(f, "everything takes {millis} ms longer"),
        }
    }
}

/// A fault with its times, in microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// When it begins.
    pub at: u64,
    /// When it ends; `None`: it does not.
    pub until: Option<u64>,
    /// What it is.
    pub fault: Fault,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |micros: u64| micros as f64 / SECOND as f64;
        match self.until {
            Some(until) => write!(f, "{:8.3} s – {:8.3} s  {}", seconds(self.at), seconds(until), self.fault),
            None => write!(f, "{:8.3} s – for good     {}", seconds(self.at), self.fault),
        }
    }
}

/// All that goes wrong in a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schedule {
    /// In the order in which they begin.
    pub faults: Vec<Planned>,
    /// From here on nothing goes wrong, but for who is down for good.
    pub heal_at: u64,
}

impl Schedule {
    /// The faults of a run of so many nodes, which heals at `heal_at`.
    pub(crate) fn draw(nodes: usize, heal_at: u64, dice: &mut Dice) -> Self {
        let room = heal_at.saturating_sub(CALM);
        let count = 2 + dice.below(2 + heal_at / SECOND / 4);
        let mut faults: Vec<Planned> = (0..count)
            .map(|_| {
                let (fault, longest) = draw_fault(nodes, dice);
                let at = CALM + dice.below(room);
                let until = at + SECOND / 2 + dice.below(longest * SECOND);
                Planned { at, until: Some(until.min(heal_at)), fault }
            })
            .collect();
        if dice.chance(0.3) {
            let node = dice.below(nodes as u64) as usize;
            faults.push(Planned { at: CALM + dice.below(room), until: None, fault: Fault::Crash { node } });
        }
        faults.sort_by_key(|planned| planned.at);
        Self { faults, heal_at }
    }

    /// What goes wrong at a time.
    pub(crate) fn active(&self, now: u64) -> impl Iterator<Item = &Fault> {
        let is_active = move |it: &&Planned| it.at <= now && it.until.is_none_or(|until| now < until);
        self.faults.iter().filter(is_active).map(|planned| &planned.fault)
    }

    /// Whether this node is down at a time.
    pub(crate) fn is_down(&self, node: usize, now: u64) -> bool {
        self.active(now).any(|fault| *fault == Fault::Crash { node })
    }
}

/// A fault, and how many seconds it lasts at most.
fn draw_fault(nodes: usize, dice: &mut Dice) -> (Fault, u64) {
    let node = dice.below(nodes as u64) as usize;
    match dice.below(7) {
        0 | 1 => (Fault::Crash { node }, 10),
        2 => (Fault::Stall { node }, 8),
        3 => {
            let size = 1 + dice.below(nodes as u64 / 2) as usize;
            let mut part = dice.choose((0..nodes).collect(), size);
            part.sort_unstable();
            (Fault::Split { part }, 12)
        }
        4 => {
            let others: Vec<usize> = (0..nodes).filter(|other| *other != node).collect();
            (Fault::OneWay { from: node, to: others[dice.below(others.len() as u64) as usize] }, 12)
        }
        5 => (Fault::Loss { percent: 5 + dice.below(26) }, 15),
        _ => (Fault::Delay { millis: 10 + dice.below(140) }, 10),
    }
}
