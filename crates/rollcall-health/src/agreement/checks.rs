//! What all observers of an instance together make of each of its checks.
//!
//! A check is agreed on as an instance is: critical when all who look and tell it see it failing, two at least where there are so
//! many; `warning` when only some do. A check that stands for a capability is left to the probers, and one is enough: confirmers
//! look when the whole instance fails, and may have no verdict on a capability yet.
//!
//! A prober tells its checks only while not all of them pass, so one that sees the instance passing and tells nothing sees each
//! of them passing. Of a check that nobody tells, nothing is agreed on: then it is taken to be as its instance is.

use rollcall_types::{CheckSpec, CheckStatuses};

use super::WITNESSES;
use crate::assignment::Watch;
use crate::{Sighting, Status};

/// What one observer sees of an instance, and what it makes of each check.
#[derive(Debug, Clone, Copy)]
pub struct CheckSighting<'a> {
    /// What it sees.
    pub sighting: Sighting<'a>,
    /// What it tells of the checks; nothing when it tells nothing, or of other checks.
    pub told: CheckStatuses,
}

/// Whether checks of such an instance are told one by one: of one check that stands for all of it, its status says all.
pub fn is_told_by_check(checks: &[CheckSpec]) -> bool {
    checks.len() > 1 || checks.iter().any(|check| check.capability.is_some())
}

/// Weighs what observers make of each of these checks against each other; `seen` in any order.
pub fn agree_on_checks(watch: &Watch, checks: &[CheckSpec], seen: &[CheckSighting<'_>]) -> CheckStatuses {
    let counts = |it: &&CheckSighting<'_>| it.sighting.observation.status != Status::Unknown;
    let looks = |it: &CheckSighting<'_>| watch.lookers().contains(it.sighting.observer);
    let do_lookers_count = seen.iter().filter(counts).any(looks);
    let counting = || seen.iter().filter(counts).filter(|it| looks(it) == do_lookers_count);
    CheckStatuses::of(checks, |place, check| {
        let is_of_capability = check.capability.is_some();
        let mut tally = Tally::default();
        for it in counting() {
            let is_prober = !do_lookers_count || watch.is_prober(it.sighting.observer);
            let passes_whole = it.told.is_empty() && it.sighting.observation.status == Status::Passing;
            let may_tell = is_prober || !is_of_capability;
            tally.add(it.told.get(place).or(passes_whole.then_some(Status::Passing)).filter(|_| may_tell));
        }
        let witnesses = seen.iter().filter(|it| it.told.get(place) == Some(Status::Critical)).count();
        let is_confirmed = is_of_capability || witnesses >= WITNESSES || watch.lookers().len() == 1;
        tally.status(is_confirmed)
    })
}

/// What observers make of one check, counted.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    passing: usize,
    warning: usize,
    critical: usize,
}

impl Tally {
    fn add(&mut self, told: Option<Status>) {
        match told {
            Some(Status::Passing) => self.passing += 1,
            Some(Status::Warning) => self.warning += 1,
            Some(Status::Critical) => self.critical += 1,
            Some(Status::Unknown | Status::Starting) | None => {}
        }
    }

    fn status(self, is_confirmed: bool) -> Option<Status> {
        Some(match self {
            Self { passing: 0, warning: 0, critical: 0 } => return None,
            Self { warning: 0, critical: 0, .. } => Status::Passing,
            Self { passing: 0, warning: 0, .. } if is_confirmed => Status::Critical,
            _ => Status::Warning,
        })
    }
}

#[cfg(test)]
mod tests {
    use rollcall_types::{CheckKind, Millis, MonoTime, NodeName, Text};

    use super::*;
    use crate::assignment::{Candidate, Roster};
    use crate::{ChunkId, Freshness, Observation};

    fn check(id: &str, capability: Option<&str>) -> CheckSpec {
        CheckSpec {
            id: id.parse().unwrap(),
            name: Text::default(),
            notes: Text::default(),
            capability: capability.map(|name| name.parse().unwrap()),
            kind: CheckKind::Tcp { host: "localhost".try_into().unwrap(), port: 80_u64.try_into().unwrap() },
            interval: Millis::new(1_000),
            timeout: Millis::new(100),
            failures_before_critical: 3,
            successes_before_passing: 2,
        }
    }

    /// Who looks at chunk 0 of so many nodes, probers first.
    fn watch(nodes: usize) -> Watch {
        let fit: Vec<_> =
            (0..nodes).map(|number| Candidate { name: format!("n{number}").parse().unwrap(), zone: None }).collect();
        let mut roster = Roster::new();
        roster.update(&"n0".parse().unwrap(), &fit, MonoTime::default());
        roster.watch(ChunkId::new(0).unwrap(), 2)
    }

    /// What is agreed on of a check of the whole and one of a capability, when the lookers, probers first, give the instance a
    /// status and tell these; a status in capitals is the last word of one that may be dead.
    #[track_caller]
    fn agree(nodes: usize, said: &[&str], expected: &str) {
        let (watch, checks) = (watch(nodes), [check("web", None), check("print", Some("print"))]);
        let names: Vec<NodeName> = watch.lookers().to_vec();
        let status = |letter: char| match letter.to_ascii_lowercase() {
            'p' => Some(Status::Passing),
            'w' => Some(Status::Warning),
            'c' => Some(Status::Critical),
            _ => None,
        };
        let seen: Vec<_> = said
            .iter()
            .zip(&names)
            .filter_map(|(said, observer)| {
                let letters: Vec<char> = said.chars().collect();
                let is_dead = letters[0].is_ascii_uppercase();
                let said = status(letters[0])?;
                let sighting = Sighting {
                    observer,
                    observation: Observation::of(if is_dead { Status::Unknown } else { said }),
                    said,
                    freshness: if is_dead { Freshness::Stale } else { Freshness::Fresh },
                    received_at: MonoTime::default(),
                };
                let told = CheckStatuses::of(&checks, |place, _| letters.get(1 + place).copied().and_then(status));
                Some(CheckSighting { sighting, told: told.about(&checks) })
            })
            .collect();
        let agreed = agree_on_checks(&watch, &checks, &seen);
        let letter = |place| agreed.get(place).map_or('-', |status| status.as_str().chars().next().unwrap());
        assert_eq!([0, 1].map(letter).iter().collect::<String>(), expected, "{said:?}");
    }

    #[test]
    fn a_check_fails_when_all_who_look_see_it_failing() {
        agree(3, &["ccp", "ccp"], "cp");
        agree(3, &["ccp", "p"], "wp");
        agree(3, &["ccp", "ccp", "p"], "wp");
        agree(3, &["ccp", "ccp", "ccp"], "cp");
        agree(3, &["wwp", "p"], "wp");
        agree(3, &["ccp", "wwp"], "wp");
    }

    #[test]
    fn what_one_alone_sees_is_no_failure_unless_it_is_the_only_one_there_is() {
        agree(3, &["ccp"], "wp");
        agree(1, &["ccp"], "cp");
        agree(3, &["ccp", "Ccp"], "cp");
        agree(3, &["Ccp", "Ccp"], "--");
    }

    #[test]
    fn who_tells_no_checks_and_sees_the_instance_passing_sees_each_of_them_passing() {
        agree(3, &["p", "p"], "pp");
        agree(3, &["c", "c"], "--");
        agree(3, &["c", "cpc"], "pc");
        agree(3, &["cc-", "cc-"], "c-");
        agree(3, &["-"], "--");
    }

    #[test]
    fn a_capability_is_kept_while_one_prober_that_counts_sees_it_working() {
        agree(3, &["wpc", "p"], "pw");
        agree(3, &["wpc", "wpc"], "pc");
        agree(3, &["wpc"], "pc");
        agree(3, &["wpc", "wpc", "p"], "pc");
        agree(3, &["wpc", "P"], "pc");
    }

    #[test]
    fn only_one_check_of_the_whole_needs_no_words_of_its_own() {
        assert!(!is_told_by_check(&[check("web", None)]) && !is_told_by_check(&[]));
        assert!(is_told_by_check(&[check("web", Some("print"))]));
        assert!(is_told_by_check(&[check("a", None), check("b", None)]));
    }
}
