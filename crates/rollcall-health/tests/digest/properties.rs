//! Properties of any text, any order of arrival, any sequence of observations.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use rollcall_health::{
    ChunkId, DIGEST_TEXT_MAX, Digest, Freshness, HealthView, Observation, Observer, Publication, Publisher, Received,
    SCORE_PUBLISH_EVERY, ScoreStep, Slot, Status, Tenancy, TimeToFailure, Trend,
};
use rollcall_types::{MonoTime, Revision};

/// Every test here lives in two chunks of slots and four tenancies of each.
const SLOTS: u32 = 128;
const TENANCIES: u64 = 4;
const NAMES: [&str; 3] = ["n1", "n2", "n3"];

/// One observer's evidence as a reader finds it: who, what it said, whether it counts.
type Found = (u32, u64, String, Observation, Freshness);

fn slot(raw: u32) -> Slot {
    Slot::new(raw).unwrap()
}

fn tenancy(raw: u64) -> Tenancy {
    Tenancy::began_at(Revision::new(raw))
}

fn seconds(count: u64) -> MonoTime {
    MonoTime::new(Duration::from_secs(count))
}

fn any_observation() -> impl Strategy<Value = Observation> {
    let status =
        prop_oneof![Just(Status::Starting), Just(Status::Passing), Just(Status::Warning), Just(Status::Critical)];
    let trend = prop_oneof![Just(Trend::Unknown), Just(Trend::Stable), Just(Trend::Degrading)];
    (status, 0.0..=1.0, trend, 0..2000_u64).prop_map(|(status, score, trend, ttf)| Observation {
        score: ScoreStep::nearest(score),
        trend,
        time_to_failure: TimeToFailure::within(Duration::from_secs(ttf)),
        ..Observation::of(status)
    })
}

/// Digests of chunk 0, made the way observers make them.
fn any_digest() -> impl Strategy<Value = Digest> {
    vec((0..64_u32, 0..TENANCIES, any_observation()), 0..8).prop_map(|seen| {
        let mut publisher = Publisher::new();
        for (place, revision, observation) in seen {
            publisher.observe(slot(place), tenancy(revision), observation, Duration::from_secs(30), seconds(0));
        }
        match publisher.tick(seconds(0)).pop() {
            Some(Publication::Put { digest, .. }) => digest,
            Some(Publication::Delete { .. }) | None => Digest::default(),
        }
    })
}

fn any_received() -> impl Strategy<Value = Received> {
    (0..3_usize, 1..3_u64, 0..2_u32, 1..4_u64, any_digest()).prop_map(|(name, generation, chunk, version, digest)| {
        let observer = Observer { name: NAMES[name].parse().unwrap(), generation };
        Received { observer, chunk: ChunkId::new(chunk).unwrap(), version, digest, received_at: seconds(version) }
    })
}

fn merge_all<'a>(received: impl IntoIterator<Item = &'a Received>) -> HealthView {
    let mut view = HealthView::new();
    for one in received {
        view.merge(one.clone()).unwrap();
    }
    view
}

/// Everything that a reader can find.
fn findings(view: &HealthView) -> Vec<Found> {
    let places = (0..SLOTS).flat_map(|raw| (0..TENANCIES).map(move |revision| (raw, revision)));
    places
        .flat_map(|(raw, revision)| {
            let found = view.sightings(slot(raw), tenancy(revision));
            found.map(move |it| (raw, revision, it.observer.to_string(), it.observation, it.freshness))
        })
        .collect()
}

proptest! {
    #[test]
    fn any_text_is_a_digest_or_an_error(text in any::<String>()) {
        let _ = Digest::decode(&text);
    }

    #[test]
    fn any_text_in_the_right_letters_is_a_digest_or_an_error(text in "AQ[A-Za-z0-9_-]{0,356}") {
        if let Ok(digest) = Digest::decode(&text) {
            prop_assert_eq!(digest.encode(), text, "one content has one text");
        }
    }

    #[test]
    fn a_digest_reads_back_as_written(digest in any_digest()) {
        let text = digest.encode();
        prop_assert!(text.len() <= DIGEST_TEXT_MAX);
        prop_assert_eq!(Digest::decode(&text), Ok(digest));
    }

    #[test]
    fn a_damaged_digest_never_gains_more_than_was_changed(digest in any_digest(), at in 0..354_usize, letter in "[A-Z]") {
        let mut text = digest.encode();
        let at = at % text.len();
        text.replace_range(at..=at, &letter);
        if let Ok(damaged) = Digest::decode(&text) {
            prop_assert_eq!(damaged.len(), digest.len());
        }
    }

    #[test]
    fn merging_is_a_join(
        (original, shuffled) in vec(any_received(), 0..12).prop_flat_map(|received| {
            (Just(received.clone()), Just([received.clone(), received].concat()).prop_shuffle())
        })
    ) {
        let (first, second) = (merge_all(&original), merge_all(&shuffled));
        prop_assert_eq!(findings(&first), findings(&second), "in any order, however often");
        prop_assert_eq!(first.digest_count(), second.digest_count());
        let mut again = first.clone();
        for one in &original {
            prop_assert_eq!(again.merge(one.clone()), Ok(false), "nothing new");
        }
    }

    #[test]
    fn nothing_reads_as_a_verdict_unless_its_observer_is_known_to_be_alive(
        received in vec(any_received(), 0..12),
        marks in vec((0..3_usize, 1..3_u64, any::<bool>()), 0..6),
    ) {
        let mut view = merge_all(&received);
        let mut alive: BTreeMap<&str, bool> = BTreeMap::new();
        let mut generations: BTreeMap<&str, u64> = BTreeMap::new();
        for one in &received {
            let known = generations.entry(NAMES.iter().find(|name| **name == one.observer.name.as_str()).unwrap());
            let known = known.or_default();
            *known = one.observer.generation.max(*known);
        }
        for (name, generation, is_alive) in marks {
            let freshness = if is_alive { Freshness::Fresh } else { Freshness::Stale };
            view.mark_observer(&Observer { name: NAMES[name].parse().unwrap(), generation }, freshness).unwrap();
            let known = generations.entry(NAMES[name]).or_default();
            if generation >= *known {
                *known = generation;
                alive.insert(NAMES[name], is_alive);
            }
        }
        for (_, _, name, observation, _) in findings(&view) {
            let counts = alive.get(name.as_str()) == Some(&true);
            prop_assert_eq!(observation.status != Status::Unknown, counts, "{}", name);
        }
    }

    #[test]
    fn a_reader_knows_all_an_observer_holds_once_the_longest_wait_is_over(
        steps in vec((0..SLOTS, 0..TENANCIES, any_observation(), any::<bool>(), 0..20_u64), 1..60)
    ) {
        let mut world = World::default();
        for (raw, revision, observation, is_withdrawn, pause) in steps {
            match is_withdrawn {
                true => world.withdraw(raw, revision),
                false => world.observe(raw, revision, observation),
            }
            world.tick();
            world.clock += pause;
            world.expire();
        }
        world.clock += SCORE_PUBLISH_EVERY.as_secs() - World::VALID_SECS / 2;
        world.refresh();
        world.tick();
        world.clock += World::VALID_SECS / 2;
        world.tick();
        let known = findings(&world.view).into_iter().map(|(raw, revision, _, said, _)| (raw, (revision, said)));
        prop_assert_eq!(known.collect::<BTreeMap<_, _>>(), world.expected());
    }
}

/// One observer and one reader, beside a plain model of what is held.
#[derive(Default)]
struct World {
    clock: u64,
    version: u64,
    publisher: Publisher,
    view: HealthView,
    held: BTreeMap<u32, (u64, Observation, u64)>,
}

impl World {
    const VALID_SECS: u64 = 30;

    fn observer() -> Observer {
        Observer { name: "n1".parse().unwrap(), generation: 1 }
    }

    fn observe(&mut self, raw: u32, revision: u64, observation: Observation) {
        let valid_for = Duration::from_secs(Self::VALID_SECS);
        self.publisher.observe(slot(raw), tenancy(revision), observation, valid_for, seconds(self.clock));
        self.held.insert(raw, (revision, observation, self.clock + Self::VALID_SECS));
    }

    fn withdraw(&mut self, raw: u32, revision: u64) {
        self.publisher.withdraw(slot(raw), tenancy(revision), seconds(self.clock));
        if self.held.get(&raw).is_some_and(|held| held.0 == revision) {
            self.held.remove(&raw);
        }
    }

    fn expire(&mut self) {
        self.held.retain(|_, held| held.2 > self.clock);
    }

    /// Sees everything that is held again.
    fn refresh(&mut self) {
        self.expire();
        for (raw, (revision, observation, _)) in self.held.clone() {
            self.observe(raw, revision, observation);
        }
    }

    fn tick(&mut self) {
        let publications = self.publisher.tick(seconds(self.clock));
        let mut chunks = Vec::new();
        for publication in publications {
            let (chunk, text) = match publication {
                Publication::Put { chunk, digest } => (chunk, Some(digest.encode())),
                Publication::Delete { chunk } => (chunk, None),
            };
            chunks.push(chunk);
            self.version += 1;
            let at = seconds(self.clock);
            self.view.receive(Self::observer(), chunk, self.version, text.as_deref(), at).unwrap();
        }
        assert!(chunks.is_sorted_by(|one, next| one < next), "a chunk is published at most once per tick");
        assert!(self.publisher.tick(seconds(self.clock)).is_empty(), "a second look at the same moment finds nothing");
        self.view.mark_observer(&Self::observer(), Freshness::Fresh).unwrap();
    }

    fn expected(&self) -> BTreeMap<u32, (u64, Observation)> {
        let held = self.held.iter().filter(|(_, held)| held.2 > self.clock);
        held.map(|(raw, (revision, observation, _))| (*raw, (*revision, *observation))).collect()
    }
}
