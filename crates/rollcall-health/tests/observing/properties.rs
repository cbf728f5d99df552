//! Properties of any outcomes, any sightings, any notes, in any order.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use rollcall_health::agreement::{Cause, agree};
use rollcall_health::assignment::{Candidate, Roster};
use rollcall_health::check::{Answer, CheckRecord, Failure, JITTER, Outcome};
use rollcall_health::journal::{ENTRY_GAP_MIN, ENTRY_TRANSITIONS_MAX, Journal};
use rollcall_health::lease::{Grant, LeaseTable};
use rollcall_health::{
    ChunkId, Flap, Freshness, Observation, RUN_TICK, RunClock, ScoreStep, Sighting, Status, Tenancy,
};
use rollcall_types::{CheckKind, CheckSpec, CheckStatuses, Millis, MonoTime, NodeName, Revision, Text};

use crate::words::slot;

/// What an observer says of an instance, its score of it, and whether the observer is alive.
type Seen = (Status, f64, bool);

fn at(millis: u64) -> MonoTime {
    MonoTime::new(Duration::from_millis(millis))
}

fn spec(failures: u8, successes: u8) -> CheckSpec {
    CheckSpec {
        id: "tcp".parse().unwrap(),
        name: Text::default(),
        notes: Text::default(),
        capability: None,
        kind: CheckKind::Tcp { host: "localhost".try_into().unwrap(), port: 80_u64.try_into().unwrap() },
        interval: Millis::new(10_000),
        timeout: Millis::new(2_000),
        failures_before_critical: failures,
        successes_before_passing: successes,
    }
}

fn any_answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        4 => Just(Answer::Passed),
        1 => Just(Answer::Strained),
        3 => Just(Answer::Failed(Failure::Refused)),
        2 => Just(Answer::Failed(Failure::Timeout)),
        1 => Just(Answer::Failed(Failure::Forbidden)),
    ]
}

fn any_status() -> impl Strategy<Value = Status> {
    prop_oneof![
        Just(Status::Unknown),
        Just(Status::Starting),
        Just(Status::Passing),
        Just(Status::Warning),
        Just(Status::Critical)
    ]
}

fn watch_of(count: usize) -> rollcall_health::assignment::Watch {
    let candidate = |number: usize| Candidate { name: format!("n{number}").parse().unwrap(), zone: None };
    let fit: Vec<Candidate> = (0..count).map(candidate).collect();
    let mut roster = Roster::new();
    roster.update(&"n0".parse().unwrap(), &fit, at(0));
    roster.watch(ChunkId::new(0).unwrap(), 2)
}

proptest! {
    #[test]
    fn a_check_is_critical_only_after_as_many_failures_in_a_row_as_it_takes(
        answers in vec((any_answer(), 0..40_000_u64), 1..60),
        failures in 1..=10_u8,
        successes in 1..=10_u8,
        draw in any::<u64>(),
    ) {
        let mut record = CheckRecord::new(&spec(failures, successes), Duration::ZERO, at(0), draw);
        let (mut clock, mut failed, mut worked) = (0, 0, 0);
        for (answer, gap) in answers {
            clock += gap;
            let before = record.verdict();
            let change = record.observe(Outcome { answer, latency: Duration::ZERO }, None, at(clock), draw);
            match answer {
                Answer::Failed(Failure::Forbidden) => (failed, worked) = (0, 0),
                Answer::Failed(_) => (failed, worked) = (failed + 1, 0),
                _ => (failed, worked) = (0, worked + 1),
            }
            let after = record.verdict();
            let flaps = record.flap(at(clock)) == Flap::Flapping;
            prop_assert_eq!(change.is_some(), before.status != after.status);
            if let Some(change) = change {
                prop_assert_eq!((change.from, change.to, change.at), (before.status, after.status, at(clock)));
                prop_assert_eq!(after.since, at(clock));
            }
            if after.status == Status::Critical && before.status != Status::Critical {
                prop_assert!(failed >= failures || flaps);
            }
            if before.status == Status::Critical && after.status > Status::Starting && after.status < Status::Critical {
                prop_assert!(worked >= successes || flaps || record.flap(at(clock)) == Flap::Unsteady);
            }
            if failed >= failures {
                prop_assert_eq!(after.status, Status::Critical);
            }
        }
    }

    #[test]
    fn an_instance_that_is_killed_is_critical_at_all_who_look_within_two_intervals(
        killed_at in 5_000..6_000_u64, draws in any::<[u64; 3]>(), seed in any::<u64>(),
    ) {
        let mut spec = spec(3, 2);
        spec.interval = Millis::new(1_000);
        let [first, second, confirmer] = draws.map(|draw| CheckRecord::new(&spec, Duration::ZERO, at(0), draw));
        let (mut looking, mut asked) = (vec![first, second], Some(confirmer));
        let (mut draw, deadline) = (seed, at(killed_at + 2_000));
        let next = |record: &CheckRecord| record.due().unwrap();
        while let Some(place) = (0..looking.len()).min_by_key(|place| next(&looking[*place])) {
            let now = next(&looking[place]);
            if now > deadline {
                break;
            }
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let is_dead = now >= at(killed_at);
            let answer = if is_dead { Answer::Failed(Failure::Refused) } else { Answer::Passed };
            looking[place].observe(Outcome { answer, latency: Duration::ZERO }, None, now, draw);
            if is_dead && let Some(confirmer) = asked.take() {
                looking.push(confirmer);
                looking.iter_mut().for_each(|record| record.challenge(now));
            }
        }
        prop_assert_eq!(looking.len(), 3);
        prop_assert!(looking.iter().all(|record| record.verdict().status == Status::Critical));
    }

    #[test]
    fn the_next_probe_is_due_within_the_jittered_interval_and_scores_stay_in_range(
        answers in vec((any_answer(), 0..10_000_u64, any::<u64>()), 1..40),
    ) {
        let mut record = CheckRecord::new(&spec(3, 2), Duration::ZERO, at(0), 0);
        let mut clock = 0;
        for (answer, gap, draw) in answers {
            clock += gap;
            record.observe(Outcome { answer, latency: Duration::from_millis(gap / 10) }, None, at(clock), draw);
            let wait = record.due().unwrap().since(at(clock));
            prop_assert!(wait <= Duration::from_secs(10).mul_f64(1.0 + JITTER));
            let in_range = |value: f64| (0.0..=1.0).contains(&value);
            prop_assert!(record.connectivity().is_none_or(in_range));
            prop_assert!(record.error_rate().is_none_or(in_range));
        }
    }

    #[test]
    fn an_agreement_is_the_same_in_any_order_and_never_worse_or_better_than_the_evidence(
        (seen, shuffled) in vec((any_status(), 0.0..=1.0, any::<bool>()), 0..6).prop_flat_map(|seen| {
            let seen: Vec<_> = seen.into_iter().enumerate().collect();
            (Just(seen.clone()), Just(seen).prop_shuffle())
        }),
        nodes in 0..5_usize,
    ) {
        let names: Vec<NodeName> = (0..6).map(|number| format!("n{number}").parse().unwrap()).collect();
        let watch = watch_of(nodes);
        let sightings = |list: &[(usize, Seen)]| -> Vec<Sighting<'_>> {
            let sighting = |(who, (said, score, is_alive)): &(usize, Seen)| Sighting {
                observer: &names[*who],
                observation: Observation {
                    score: ScoreStep::nearest(*score),
                    ..Observation::of(if *is_alive { *said } else { Status::Unknown })
                },
                said: *said,
                freshness: if *is_alive { Freshness::Fresh } else { Freshness::Stale },
                received_at: at(0),
            };
            list.iter().map(sighting).collect()
        };
        let agreed = agree(Some(&watch), sightings(&seen));
        prop_assert_eq!(agreed, agree(Some(&watch), sightings(&shuffled)));
        let living = seen.iter().filter(|(_, (said, _, is_alive))| *is_alive && *said != Status::Unknown);
        let (looking, others): (Vec<_>, Vec<_>) =
            living.map(|(who, (said, ..))| (watch.lookers().contains(&names[*who]), *said)).partition(|(looks, _)| *looks);
        let counting = if looking.is_empty() { others } else { looking };
        let alive: Vec<Status> = counting.into_iter().map(|(_, said)| said).collect();
        prop_assert_eq!(agreed.status == Status::Unknown, alive.is_empty(), "the dead decide nothing alone");
        match agreed.status {
            Status::Critical => {
                prop_assert!(alive.contains(&Status::Critical));
                prop_assert!(!alive.contains(&Status::Passing) && !alive.contains(&Status::Warning));
                let said_so = seen.iter().filter(|(_, (said, ..))| *said == Status::Critical).count();
                prop_assert!(said_so >= 2 || nodes == 1);
            }
            Status::Passing => prop_assert!(alive.contains(&Status::Passing)),
            Status::Starting => prop_assert!(alive.contains(&Status::Starting)),
            Status::Warning | Status::Unknown => {}
        }
        prop_assert!(agreed.failing <= agreed.looking);
    }

    #[test]
    fn a_lease_expires_once_its_ttl_has_passed_in_silence_and_not_before(
        steps in vec((0..8_u32, 1..20_u64, 1..10_u64), 1..80),
    ) {
        let (mut clock, mut table, mut millis) = (RunClock::new(at(0)), LeaseTable::new(), 0);
        let tenancy = Tenancy::began_at(Revision::new(7));
        let mut expires: BTreeMap<u32, u64> = BTreeMap::new();
        for (raw, ttl, ticks) in steps {
            let grant = Grant { tenancy, ttl: Duration::from_secs(ttl) };
            let reading = clock.read(at(millis));
            let renewal = table.renew(slot(raw), Some(grant), reading, millis).unwrap();
            prop_assert_eq!(renewal.is_new, !expires.contains_key(&raw));
            prop_assert!(renewal.next_heartbeat <= grant.ttl / 3 && renewal.next_heartbeat >= grant.ttl / 4);
            expires.insert(raw, millis + ttl * 1_000);
            for _ in 0..ticks * 5 {
                millis += RUN_TICK.as_millis() as u64;
                let reading = clock.tick(at(millis));
                let lost: Vec<u32> = table.tick(reading).into_iter().map(|lost| lost.slot.get()).collect();
                let mut due: Vec<(u64, u32)> =
                    expires.iter().filter(|(_, at)| **at < millis).map(|(raw, at)| (*at, *raw)).collect();
                due.sort_unstable();
                prop_assert_eq!(&lost, &due.into_iter().map(|(_, raw)| raw).collect::<Vec<_>>());
                expires.retain(|_, at| *at >= millis);
                prop_assert_eq!(table.len(), expires.len());
            }
        }
    }

    #[test]
    fn the_log_ends_with_what_is_agreed_on_whatever_fails_on_the_way(
        notes in vec((0..40_u32, any_status(), 0..4_u32, 0..200_u64, any::<bool>(), any::<bool>()), 1..120),
    ) {
        let (mut journal, mut millis) = (Journal::default(), 1_000);
        let mut log: BTreeMap<u32, (Tenancy, (Status, CheckStatuses))> = BTreeMap::new();
        let mut agreed: BTreeMap<u32, (Tenancy, (Status, CheckStatuses))> = BTreeMap::new();
        let mut last = None;
        let mut write = |journal: &mut Journal, millis: u64, answers: (bool, bool)| {
            let Some(entry) = journal.next_entry(at(millis)).map(<[_]>::to_vec) else { return };
            assert!(!entry.is_empty() && entry.len() <= ENTRY_TRANSITIONS_MAX);
            assert!(last.is_none_or(|last| at(millis).since(at(last)) >= ENTRY_GAP_MIN));
            last = Some(millis);
            assert!(journal.next_entry(at(millis + 10_000)).is_none(), "one at a time");
            let (is_written, is_known) = answers;
            if is_written {
                log.extend(entry.iter().map(|it| (it.slot.get(), (it.tenancy, (it.to, it.checks)))));
            }
            if is_written && is_known { journal.written() } else { journal.failed() }
        };
        for (step, (raw, status, checks, gap, is_written, is_known)) in notes.into_iter().enumerate() {
            let tenancy = Tenancy::began_at(Revision::new(step as u64 / 40));
            let checks = CheckStatuses::from_parts(0, checks);
            journal.note(slot(raw), tenancy, status, Cause::Observed, checks);
            agreed.insert(raw, (tenancy, (status, checks)));
            millis += gap;
            write(&mut journal, millis, (is_written, is_known));
        }
        while journal.due().is_some() {
            millis += 1_000;
            write(&mut journal, millis, (true, true));
        }
        for (raw, (tenancy, said)) in agreed {
            let written = log.get(&raw).filter(|(found, _)| *found == tenancy).map(|(_, said)| *said);
            prop_assert_eq!(written.unwrap_or_default(), said, "slot {}", raw);
        }
    }
}
