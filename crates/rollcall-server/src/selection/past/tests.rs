use rollcall_catalog::Command;
use rollcall_types::Lifecycle;

use super::*;
use crate::watch::story::{Story, instance, service};

/// The instances of `web` at a revision, each with its lifecycle and state.
fn at(story: &Story, revision: u64) -> Result<Vec<String>, NoPast> {
    let past = Past::of(story.catalog(), &service("Web"), Revision::new(revision))?;
    let line = |instance: &Arc<Instance>| {
        let lifecycle = match instance.lifecycle {
            Lifecycle::Active => "active",
            Lifecycle::Draining { .. } => "draining",
            Lifecycle::Quarantined { .. } => "quarantined",
        };
        // Nobody looks at these instances, so what the journal has is asked for beside that.
        let known = past.states.get(&instance.id).map_or("-", |known| known.status.as_str());
        format!("{} {lifecycle} {known}", instance.id)
    };
    Ok(past.service.instances.values().map(line).collect())
}

fn drain(story: &mut Story, id: &str) {
    let lifecycle = Lifecycle::Draining { deadline: None, reason: "why".parse().unwrap() };
    let (service, id) = (service("web"), instance(id));
    let expect = rollcall_catalog::Precondition::None;
    story.apply(Command::SetLifecycle { service, id, lifecycle, expect, reason: None });
}

#[test]
fn every_revision_shows_the_service_as_it_was() {
    let mut story = Story::default();
    story.register("web", "1"); // 1
    story.register("other", "1"); // 2
    story.register("web", "2"); // 3
    story.record(&[("web", "1", Status::Passing), ("other", "1", Status::Critical)]); // 4
    drain(&mut story, "1"); // 5
    story.record(&[("web", "2", Status::Critical)]); // 6
    story.deregister("web", "1", "gone"); // 7
    story.register("web", "1"); // 8
    assert_eq!(at(&story, 0), Err(NoPast::NoService));
    assert_eq!(at(&story, 1).unwrap(), ["1 active unknown"]);
    assert_eq!(at(&story, 3).unwrap(), ["1 active unknown", "2 active unknown"]);
    assert_eq!(at(&story, 4).unwrap(), ["1 active passing", "2 active unknown"]);
    assert_eq!(at(&story, 5).unwrap(), ["1 draining passing", "2 active unknown"]);
    assert_eq!(at(&story, 6).unwrap(), ["1 draining passing", "2 active critical"]);
    assert_eq!(at(&story, 7).unwrap(), ["2 active critical"]);
    assert_eq!(at(&story, 8).unwrap(), ["1 active unknown", "2 active critical"]);
    assert_eq!(at(&story, 9), Err(NoPast::NotYet { present: Revision::new(8) }));
}

#[test]
fn what_the_ring_has_forgotten_is_refused_and_not_made_up() {
    let mut story = Story::default();
    story.register("web", "1"); // 1
    let filler = |story: &mut Story, count: usize| {
        for number in 0..count {
            story.register("filler", &(number % 7).to_string());
            story.deregister("filler", &(number % 7).to_string(), "filler");
        }
    };
    filler(&mut story, rollcall_catalog::EVENTS_MAX / 2 + 10);
    let before = story.catalog().revision().get();
    assert_eq!(at(&story, before).unwrap(), ["1 active unknown"], "it is what it was");
    drain(&mut story, "1");
    let compacted = story.catalog().events().compacted();
    assert_eq!(at(&story, before), Err(NoPast::Forgotten { compacted }), "how it was registered is forgotten");
    assert_eq!(at(&story, before + 1).unwrap(), ["1 draining unknown"]);
    assert_eq!(at(&story, 1), Err(NoPast::Forgotten { compacted }));
}
