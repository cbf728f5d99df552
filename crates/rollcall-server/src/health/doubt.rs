//! What the sightings of others tell a looker to do: SWIM's ping-req for instances, without a message of its own.
//!
//! A prober that sees a first failure publishes a lower score at once. That is the question: whoever else looks at the chunk
//! probes the same target now. Its answer is its own sighting. Rejected: asking by message, which needs one more protocol with
//! its own losses, and is no faster than the news, which goes out in the same gossip round.
//!
//! Limits: a check that needs eight failures or more loses so little score by the first that the news waits for the second.

use rollcall_health::assignment::Watch;
use rollcall_health::{Freshness, HealthView, SCORE_PUBLISH_STEPS, ScoreStep, Sighting, Slot, Status, Tenancy};
use rollcall_types::NodeName;

/// What other lookers show of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Doubt {
    /// One of them sees it failing.
    pub(crate) stands: bool,
    /// One of them began to see it failing, or does worse with it than before by as much as a failure costs.
    pub(crate) is_failing: bool,
    /// One of them saw it failing and does not any more.
    pub(crate) is_recovering: bool,
}

impl Doubt {
    /// What the lookers beside `me` show in `now` that they did not in `before`.
    pub(crate) fn of(
        me: &NodeName,
        watch: &Watch,
        (slot, tenancy): (Slot, Tenancy),
        before: &HealthView,
        now: &HealthView,
    ) -> Self {
        let is_other = |sighting: &Sighting<'_>| {
            sighting.freshness == Freshness::Fresh
                && sighting.observer != me
                && watch.lookers().contains(sighting.observer)
        };
        let mut doubt = Self::default();
        for sighting in now.sightings(slot, tenancy).filter(is_other) {
            let known = before.sightings(slot, tenancy).find(|known| known.observer == sighting.observer);
            let was_critical = known.as_ref().is_some_and(|known| known.said == Status::Critical);
            let is_critical = sighting.said == Status::Critical;
            let has_fallen = known.is_some_and(|known| fell(known.observation.score, sighting.observation.score));
            doubt.stands |= is_critical;
            doubt.is_failing |= (is_critical && !was_critical) || (has_fallen && !is_critical);
            doubt.is_recovering |= was_critical && !is_critical;
        }
        doubt
    }

    /// Whether there is anything to do about it for a looker that looks at the instance already.
    pub(crate) fn is_news(self) -> bool {
        self.is_failing || self.is_recovering
    }
}

/// Whether the score fell by as much as is published at once.
fn fell(before: ScoreStep, now: ScoreStep) -> bool {
    // Half a step less, since both are rounded.
    before.score() - now.score() > (f64::from(SCORE_PUBLISH_STEPS) - 0.5) / 63.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rollcall_health::assignment::{Candidate, Roster};
    use rollcall_health::{ChunkId, Observation, Observer, Publication, Publisher};
    use rollcall_types::{MonoTime, Revision};

    use super::*;

    const SLOT: u32 = 3;

    fn name(text: &str) -> NodeName {
        text.parse().unwrap()
    }

    /// A view in which n2 has said this.
    fn view(status: Status, score: f64) -> HealthView {
        let mut publisher = Publisher::new();
        let observation = Observation { score: ScoreStep::nearest(score), ..Observation::of(status) };
        let (slot, tenancy) = place();
        publisher.observe(slot, tenancy, observation, Duration::from_secs(30), MonoTime::default());
        let observer = Observer { name: name("n2"), generation: 1 };
        let mut view = HealthView::new();
        view.mark_observer(&observer, Freshness::Fresh).unwrap();
        for publication in publisher.tick(MonoTime::default()) {
            let Publication::Put { chunk, digest } = publication else { panic!("{publication:?}") };
            view.receive(observer.clone(), chunk, 1, Some(&digest.encode()), MonoTime::default()).unwrap();
        }
        view
    }

    fn place() -> (Slot, Tenancy) {
        (Slot::new(SLOT).unwrap(), Tenancy::began_at(Revision::new(9)))
    }

    #[track_caller]
    fn check(before: &HealthView, now: &HealthView, expected: (bool, bool, bool)) {
        let mut roster = Roster::new();
        let candidates = ["n1", "n2", "n3"].map(|text| Candidate { name: name(text), zone: None });
        roster.update(&name("n1"), &candidates, MonoTime::default());
        let watch = roster.watch(ChunkId::new(0).unwrap(), 2);
        let Doubt { stands, is_failing, is_recovering } = Doubt::of(&name("n1"), &watch, place(), before, now);
        assert_eq!((stands, is_failing, is_recovering), expected);
        assert_eq!(Doubt::of(&name("n2"), &watch, place(), before, now), Doubt::default(), "nobody doubts itself");
    }

    #[test]
    fn a_first_failure_shows_in_the_score() {
        check(&view(Status::Passing, 1.0), &view(Status::Passing, 2.0 / 3.0), (false, true, false));
        check(&view(Status::Passing, 1.0), &view(Status::Passing, 0.95), (false, false, false));
        check(&HealthView::new(), &view(Status::Passing, 0.3), (false, false, false));
    }

    #[test]
    fn a_verdict_is_news_once_and_stands_for_as_long_as_it_is_held() {
        check(&view(Status::Warning, 0.3), &view(Status::Critical, 0.0), (true, true, false));
        check(&view(Status::Critical, 0.0), &view(Status::Critical, 0.0), (true, false, false));
        check(&HealthView::new(), &view(Status::Critical, 0.0), (true, true, false));
        check(&view(Status::Critical, 0.0), &view(Status::Passing, 0.9), (false, false, true));
    }
}
