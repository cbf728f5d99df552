//! Instances that the harness plays, each with a check that nodes probe: they fail, die, recover, are drained, and leave. Callers
//! look at their state and ask whom of them to send requests to, on any node.
//!
//! Who answers its probes is `critical` on no node, whatever happens to the nodes; who does not is on all of them soon, and then
//! is picked by none; who was drained or deregistered is picked by no node that has seen that.
//!
//! Each lives once, so that none flaps: well, failing or dead, well again, drained and back perhaps, gone.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Generator, Shared, Step};
use crate::client::Insistence;
use crate::dice::Dice;
use crate::history::{Act, Call, OpId, Outcome, Thing};

/// The one service whose instances are played.
pub(crate) const SERVICE: &str = "played";
/// Between two probes of an instance, milliseconds.
pub(crate) const INTERVAL_MS: u64 = 1_000;
/// Longest time until all nodes know that an instance fails, or has recovered, when nothing else is wrong.
pub(crate) const TOLD_WITHIN: Duration = Duration::from_secs(8);
/// In so much time the cluster writes down what it observed of an instance; a node that starts again knows nothing else of it.
pub(crate) const JOURNALED_WITHIN: Duration = Duration::from_secs(3);
/// Longest time from the acknowledgement of a drain or a deregistration until no node picks the instance, when nothing is wrong.
pub(crate) const SEEN_WITHIN: Duration = Duration::from_secs(1);
/// Instances that a client plays at a time.
const PLAYED: usize = 3;
/// Most instances that are asked for at once.
pub(crate) const PICKS_MAX: usize = 4;
/// Shortest and longest time that an instance is well before it fails, and drained, milliseconds.
const WELL_MS: (u64, u64) = (1_500, 9_000);
const DRAINED_MS: (u64, u64) = (2_000, 5_000);
/// Shortest and longest time that it fails, and is well again, milliseconds: long enough that all nodes must know for a while.
const SETTLED_MS: (u64, u64) = (9_500, 12_000);

/// Whether the harness plays the instances of a service.
pub(crate) fn is_played(service: &str) -> bool {
    service == SERVICE
}

/// An instance that is there, with what becomes of it next.
struct Played {
    thing: Thing,
    /// The last first.
    to_come: Vec<Act>,
    next_at: Instant,
}

/// One client.
pub(super) struct Health {
    shared: Arc<Shared>,
    client: usize,
    serial: u64,
    played: Vec<Played>,
    /// What was drawn for the instance that is being registered: what is to come, the last first, and after how long it begins.
    plan: (Vec<Act>, Duration),
}

impl Health {
    pub(super) fn new(shared: Arc<Shared>, client: usize) -> Self {
        Self { shared, client, serial: 0, played: Vec::new(), plan: (Vec::new(), Duration::ZERO) }
    }

    /// What is due, if anything is; the instance waits meanwhile.
    fn due(&mut self, dice: &mut Dice) -> Option<Call> {
        let played = self.played.iter_mut().find(|played| played.next_at <= Instant::now())?;
        let act = played.to_come.pop()?;
        let (least, most) = match act {
            Act::Fail | Act::Die | Act::Recover => SETTLED_MS,
            _ => DRAINED_MS,
        };
        played.next_at = Instant::now() + Duration::from_millis(dice.between(least, most));
        Some(Call::Play { thing: played.thing.clone(), act })
    }

    fn register(&mut self, dice: &mut Dice) -> Call {
        self.serial += 1;
        let ill = if dice.chance(50) { Act::Fail } else { Act::Die };
        let to_come = match dice.chance(30) {
            true => vec![Act::Deregister, Act::Undrain, Act::Drain, Act::Recover, ill],
            false => vec![Act::Deregister, Act::Drain, Act::Recover, ill],
        };
        self.plan = (to_come, Duration::from_millis(dice.between(WELL_MS.0, WELL_MS.1)));
        let thing = Thing::instance(SERVICE, &format!("i-{}-{}", self.client, self.serial));
        Call::Play { thing, act: Act::Register }
    }
}

impl Generator for Health {
    fn next(&mut self, dice: &mut Dice) -> Step {
        let retry = |call| Step { call, insistence: Insistence { retries: 4, again: false } };
        if let Some(call) = self.due(dice) {
            return retry(call);
        }
        if self.played.len() < PLAYED {
            return retry(self.register(dice));
        }
        let call = match self.shared.played(dice) {
            Some(thing) if dice.chance(60) => Call::Look { thing },
            _ => Call::Pick { service: SERVICE.to_owned(), n: 1 + dice.below(PICKS_MAX) },
        };
        Step { call, insistence: Insistence::default() }
    }

    fn observe(&mut self, _: OpId, call: &Call, outcome: &Outcome) {
        let Call::Play { thing, act } = call else { return };
        match (act, outcome) {
            (Act::Register, Outcome::Ok(_)) => {
                let (to_come, well) = std::mem::take(&mut self.plan);
                self.played.push(Played { thing: thing.clone(), to_come, next_at: Instant::now() + well });
                self.shared.begin_play(thing.clone());
            }
            (Act::Register, _) => {}
            (Act::Deregister, _) | (_, Outcome::Fail { .. } | Outcome::Info { .. }) => {
                // Of whatever is not known for sure no more is made.
                self.played.retain(|played| played.thing != *thing);
                self.shared.end_play(thing);
            }
            (_, Outcome::Ok(_)) => {}
        }
    }
}
