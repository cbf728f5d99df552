//! What is made of each check of one instance, in 48 bits.
//!
//! Checks are told by their place in the registration. An instance may be registered anew with other checks while what was seen
//! of the earlier ones is still on its way or written down, so the statuses carry a digest of the ids that they are about, and
//! say nothing of a registration that has others.

use serde::{Deserialize, Serialize};

use crate::{CapabilityName, CheckId, CheckSpec, Status};

/// What is made of each check of one instance; of some, nothing.
///
/// 16 bits are the digest of the ids in their order, 32 the statuses: bits 2n and 2n + 1 of check n are 0 when nothing is said of
/// it, 1 when it is passing, 2 `warning`, 3 `critical`. The encoding is persisted and sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct CheckStatuses {
    ids: u16,
    bits: u32,
}

impl CheckStatuses {
    /// Those that `status` gives. What is no verdict is nothing said.
    pub fn of(checks: &[CheckSpec], status: impl Fn(usize, &CheckSpec) -> Option<Status>) -> Self {
        let statuses = checks.iter().take(PLACES).enumerate().map(|(place, check)| status(place, check));
        let bits = statuses.enumerate().fold(0, |bits, (place, status)| bits | code(status) << (2 * place));
        Self { ids: digest_of(checks), bits }
    }

    /// Whether they are about a registration with the ids of these.
    pub fn is_about(self, checks: &[CheckSpec]) -> bool {
        self.ids == digest_of(checks)
    }

    /// The same, if they are about a registration with the ids of these; else nothing.
    #[must_use]
    pub fn about(self, checks: &[CheckSpec]) -> Self {
        if self.bits != 0 && self.is_about(checks) { self } else { Self::default() }
    }

    /// That of the check at a place of the registration.
    pub const fn get(self, place: usize) -> Option<Status> {
        if place >= PLACES {
            return None;
        }
        match (self.bits >> (2 * place)) & 3 {
            0 => None,
            1 => Some(Status::Passing),
            2 => Some(Status::Warning),
            _ => Some(Status::Critical),
        }
    }

    /// That of the check of a registration with this id.
    pub fn of_check(self, checks: &[CheckSpec], id: &CheckId) -> Option<Status> {
        self.about(checks).get(checks.iter().position(|check| check.id == *id)?)
    }

    /// Whether nothing is said of any check.
    pub const fn is_empty(self) -> bool {
        self.bits == 0
    }

    /// Those that are critical, of a registration with these checks: bit n for check n.
    pub fn critical(self, checks: &[CheckSpec]) -> u16 {
        let statuses = self.about(checks);
        (0..PLACES)
            .filter(|place| statuses.get(*place) == Some(Status::Critical))
            .fold(0, |bits, place| bits | 1 << place)
    }

    /// The capabilities that critical ones take away, of a registration with these checks; one may be named twice.
    pub fn failed_capabilities(self, checks: &[CheckSpec]) -> impl Iterator<Item = &CapabilityName> {
        let statuses = self.about(checks);
        let critical = move |(place, _): &(usize, &CheckSpec)| statuses.get(*place) == Some(Status::Critical);
        checks.iter().enumerate().filter(critical).filter_map(|(_, check)| check.capability.as_ref())
    }

    /// The two numbers of which they consist.
    pub const fn to_parts(self) -> (u16, u32) {
        (self.ids, self.bits)
    }

    /// Of two numbers; any are possible.
    pub const fn from_parts(ids: u16, bits: u32) -> Self {
        Self { ids, bits }
    }
}

/// Most checks that are told apart: as many as there may be.
const PLACES: usize = u32::BITS as usize / 2;
const _: () = assert!(PLACES == crate::CHECKS_MAX);

const fn code(status: Option<Status>) -> u32 {
    match status {
        None | Some(Status::Unknown | Status::Starting) => 0,
        Some(Status::Passing) => 1,
        Some(Status::Warning) => 2,
        Some(Status::Critical) => 3,
    }
}

/// FNV-1a of the ids, each with its end, folded to 16 bits.
fn digest_of(checks: &[CheckSpec]) -> u16 {
    let bytes = checks.iter().flat_map(|check| check.id.bytes().chain([0]));
    let hash = bytes.fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash >> 16) as u16 ^ hash as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CheckKind, Millis, Text};

    fn checks(ids: &[&str]) -> Vec<CheckSpec> {
        let check = |id: &&str| CheckSpec {
            id: id.parse().unwrap(),
            name: Text::default(),
            notes: Text::default(),
            capability: Some(format!("can-{id}").parse().unwrap()),
            kind: CheckKind::Fixed { status: Status::Passing },
            interval: Millis::new(1_000),
            timeout: Millis::new(100),
            failures_before_critical: 1,
            successes_before_passing: 1,
        };
        ids.iter().map(check).collect()
    }

    #[test]
    fn each_check_has_its_own_status_or_none() {
        let checks = checks(&["a", "b", "c", "d", "e"]);
        let given =
            [None, Some(Status::Passing), Some(Status::Warning), Some(Status::Critical), Some(Status::Starting)];
        let statuses = CheckStatuses::of(&checks, |place, _| given[place]);
        assert_eq!((0..5).map(|place| statuses.get(place)).collect::<Vec<_>>(), [&given[..4], &[None]].concat());
        assert_eq!(statuses.of_check(&checks, &"d".parse().unwrap()), Some(Status::Critical));
        assert_eq!((statuses.critical(&checks), statuses.get(16)), (0b1000, None));
        assert_eq!(statuses.failed_capabilities(&checks).map(|name| name.as_str()).collect::<Vec<_>>(), ["can-d"]);
        let (ids, bits) = statuses.to_parts();
        // Golden: it is in logs, snapshots and gossip.
        assert_eq!((ids, bits), (0x9A7D, 0b11_10_01_00));
        assert_eq!(CheckStatuses::from_parts(ids, bits), statuses);
    }

    #[test]
    fn what_is_said_of_other_checks_says_nothing() {
        let [two, turned, joined] = [&["a", "b"][..], &["b", "a"], &["ab"]].map(checks);
        let statuses = CheckStatuses::of(&two, |_, _| Some(Status::Critical));
        for other in [&turned, &joined, &checks(&["a"]), &checks(&[])] {
            assert!(!statuses.is_about(other) && statuses.about(other).is_empty());
            assert_eq!((statuses.critical(other), statuses.of_check(other, &"a".parse().unwrap())), (0, None));
        }
        assert_eq!(statuses.about(&two), statuses);
        assert!(CheckStatuses::default().about(&[]).is_empty());
    }

    #[test]
    fn of_as_many_checks_as_there_may_be_each_is_told() {
        let ids: Vec<String> = (0..crate::CHECKS_MAX).map(|number| format!("check-{number}")).collect();
        let checks = checks(&ids.iter().map(String::as_str).collect::<Vec<_>>());
        let statuses = CheckStatuses::of(&checks, |_, _| Some(Status::Critical));
        assert_eq!((statuses.critical(&checks), statuses.to_parts().1), (u16::MAX, u32::MAX));
    }
}
