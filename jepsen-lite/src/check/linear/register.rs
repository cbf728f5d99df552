//! A register with conditions, as the search sees it.

use rollcall_api::query::Consistency;

use super::search::Step;
use crate::history::{Answer, Call, Expect, OpId, Operation, Outcome, Thing};

/// On which state a write happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    Any,
    Exists,
    Absent,
    /// Last written by this operation.
    Is(OpId),
}

/// An operation with what its client was told. The state is who wrote the register last; `None`: it is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RegisterOp {
    /// It showed this.
    Read(Option<OpId>),
    /// It happened, or may have happened, and left this.
    Write { on: Condition, leaves: Option<OpId> },
    /// It was refused, since the condition did not hold.
    Refused(Condition),
}

impl Condition {
    fn holds(self, state: Option<OpId>) -> bool {
        match self {
            Self::Any => true,
            Self::Exists => state.is_some(),
            Self::Absent => state.is_none(),
            Self::Is(op) => state == Some(op),
        }
    }
}

impl Step for RegisterOp {
    type State = Option<OpId>;

    fn step(&self, state: &Option<OpId>) -> Option<Option<OpId>> {
        match *self {
            Self::Read(shown) => (shown == *state).then_some(*state),
            Self::Write { on, leaves } => on.holds(*state).then_some(leaves),
            Self::Refused(condition) => (!condition.holds(*state)).then_some(*state),
        }
    }

    fn is_pure(&self) -> bool {
        !matches!(self, Self::Write { .. })
    }
}

/// The thing and the operation on it; `None` for what says nothing about linearizability.
pub(super) fn read_operation(operation: &Operation) -> Option<(&Thing, RegisterOp)> {
    if let Some((thing, expect)) = operation.call.write() {
        let on = match expect {
            Expect::Any => Condition::Any,
            Expect::Exists => Condition::Exists,
            Expect::Absent => Condition::Absent,
            Expect::At { by, .. } => Condition::Is(by),
        };
        let leaves = matches!(operation.call, Call::Put { .. }).then_some(operation.id);
        return match operation.outcome {
            Outcome::Ok(_) | Outcome::Info { .. } => Some((thing, RegisterOp::Write { on, leaves })),
            Outcome::Fail { revision: Some(_), .. } => Some((thing, RegisterOp::Refused(on))),
            Outcome::Fail { revision: None, .. } => None,
        };
    }
    match (&operation.call, &operation.outcome) {
        (Call::Get { thing, consistency: Consistency::Linearizable, .. }, Outcome::Ok(Answer::Found { held, .. })) => {
            Some((thing, RegisterOp::Read(held.map(|held| held.op))))
        }
        _ => None,
    }
}
