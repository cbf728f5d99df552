//! Writes down that a quarantine is over, so that whoever waits for a change hears of it.
//!
//! A quarantine ends by the clock, on every node and without anybody ([`Lifecycle::at`]). But what changes by the clock alone has no
//! revision: it wakes no watch and moves no index. So the leader writes the end into the log a moment later, as what the operator
//! decided. It names the revision of the quarantine that it ends: whatever was decided since goes on.

use std::collections::HashMap;
use std::time::Duration;

use rollcall_catalog::{Actor, Catalog, Change, Command, Instance, Precondition, Request};
use rollcall_raft::Consensus;
use rollcall_types::{ActorName, InstanceId, Lifecycle, NodeName, Revision, ServiceKey, ServiceName, Text, UnixMillis};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::clock;
use crate::leading::while_leading;

/// Between two looks at the quarantines.
const LOOK: Duration = Duration::from_millis(250);
/// Longest wait for a quorum.
const DEADLINE: Duration = Duration::from_secs(2);
/// Ends that are written one after the other before the next look; the rest wait for it.
const ENDED_AT_ONCE: usize = 256;
/// Who the log says did it.
const ACTOR: &str = "rollcall";
/// Why.
const REASON: &str = "the quarantine is over";

/// The leader's part in quarantines; idle on all other nodes.
pub(crate) struct Releaser {
    pub(crate) me: NodeName,
    pub(crate) consensus: Consensus,
}

impl Releaser {
    /// Runs until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        while_leading(&self.consensus, &stop, || self.lead()).await;
    }

    async fn lead(&self) {
        let mut quarantines = Quarantines::of(&self.consensus.catalog());
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            let catalog = self.consensus.catalog();
            quarantines.follow(&catalog);
            for end in quarantines.over(clock::now(&catalog)) {
                if !self.propose(end).await {
                    // Without a quorum the others would wait in vain as well.
                    break;
                }
            }
        }
    }

    /// Returns whether the log took it; a refusal says that something else was decided, and the next look knows what.
    async fn propose(&self, command: Command) -> bool {
        let name = ActorName::try_from(ACTOR).expect("a short word is a name");
        let actor = Actor { name, via: self.me.clone() };
        let request = Request { id: None, at: UnixMillis::default(), actor, command };
        let proposed = self.consensus.propose(request, Instant::now() + DEADLINE).await;
        if let Err(error) = &proposed {
            debug!(%error, "the end of a quarantine is not in the log yet: {error}");
        }
        proposed.is_ok()
    }
}

/// The instances in quarantine. Follows one catalogue.
#[derive(Debug, Default)]
struct Quarantines {
    revision: Revision,
    by_instance: HashMap<(ServiceKey, InstanceId), Quarantine>,
}

#[derive(Debug)]
struct Quarantine {
    service: ServiceName,
    until: UnixMillis,
    decided: Revision,
}

impl Quarantines {
    /// Looks at every instance.
    fn of(catalog: &Catalog) -> Self {
        let mut quarantines = Self { revision: catalog.revision(), ..Self::default() };
        catalog.services().flat_map(|service| service.instances.values()).for_each(|it| quarantines.put(it));
        quarantines
    }

    fn follow(&mut self, catalog: &Catalog) {
        let Some(events) = catalog.events().after(self.revision) else {
            *self = Self::of(catalog);
            return;
        };
        for event in events {
            match &event.change {
                Change::InstancePut { instance, .. } | Change::LifecycleSet { instance } => self.put(instance),
                Change::InstanceRemoved { service, id, .. } => {
                    self.by_instance.remove(&(ServiceKey::from(service), id.clone()));
                }
                // Nothing else begins or ends a quarantine.
                _ => {}
            }
        }
        self.revision = catalog.revision();
    }

    fn put(&mut self, instance: &Instance) {
        let key = (ServiceKey::from(&instance.service), instance.id.clone());
        match instance.lifecycle {
            Lifecycle::Quarantined { until, .. } => {
                let (service, decided) = (instance.service.clone(), instance.modified);
                self.by_instance.insert(key, Quarantine { service, until, decided });
            }
            _ => drop(self.by_instance.remove(&key)),
        }
    }

    /// What ends those that are over by now.
    fn over(&self, now: UnixMillis) -> Vec<Command> {
        let over = self.by_instance.iter().filter(|(_, quarantine)| quarantine.until <= now).take(ENDED_AT_ONCE);
        let end = |((_, id), quarantine): (&(ServiceKey, InstanceId), &Quarantine)| Command::SetLifecycle {
            service: quarantine.service.clone(),
            id: id.clone(),
            lifecycle: Lifecycle::Active,
            expect: Precondition::At(quarantine.decided),
            reason: Text::try_from(REASON).ok(),
        };
        over.map(end).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::story::{Story, instance, service};

    fn quarantine(story: &mut Story, id: &str, until: u64) {
        let (service, id, reason) = (service("web"), instance(id), Text::default());
        let lifecycle = Lifecycle::Quarantined { until: UnixMillis::new(until), reason };
        story.apply(Command::SetLifecycle { service, id, lifecycle, expect: Precondition::None, reason: None });
    }

    /// Ends what is over at `now`; how many that were.
    fn end(quarantines: &mut Quarantines, story: &mut Story, now: u64) -> usize {
        quarantines.follow(story.catalog());
        let over = quarantines.over(UnixMillis::new(now));
        let count = over.len();
        over.into_iter().for_each(|command| story.apply(command));
        count
    }

    #[test]
    fn a_quarantine_that_is_over_is_ended_once_and_a_longer_one_goes_on() {
        let mut story = Story::default();
        ["a", "b", "gone"].into_iter().for_each(|id| story.register("web", id));
        quarantine(&mut story, "a", 10_000);
        let mut quarantines = Quarantines::of(story.catalog());
        quarantine(&mut story, "b", 10_000);
        quarantine(&mut story, "gone", 10_000);
        story.deregister("web", "gone", "it left");
        assert_eq!(end(&mut quarantines, &mut story, 9_999), 0);
        quarantine(&mut story, "b", 20_000);
        assert_eq!(end(&mut quarantines, &mut story, 10_000), 1);
        let state =
            |story: &Story, id| story.catalog().instance(&service("web"), &instance(id)).map(|it| it.lifecycle.clone());
        assert_eq!(state(&story, "a"), Some(Lifecycle::Active));
        assert!(matches!(state(&story, "b"), Some(Lifecycle::Quarantined { .. })));
        assert_eq!(end(&mut quarantines, &mut story, 10_000), 0, "it is written once");
        assert_eq!(end(&mut quarantines, &mut story, 20_000), 1);
        assert!(quarantines.by_instance.len() <= 1, "nothing stays of those that ended");
    }

    #[test]
    fn an_end_that_did_not_know_of_a_later_decision_changes_nothing() {
        let mut story = Story::default();
        story.register("web", "a");
        quarantine(&mut story, "a", 10_000);
        let over = Quarantines::of(story.catalog()).over(UnixMillis::new(10_000));
        quarantine(&mut story, "a", 60_000);
        over.into_iter().for_each(|command| story.apply(command));
        let kept = story.catalog().instance(&service("web"), &instance("a")).map(|it| it.lifecycle.clone());
        assert!(matches!(kept, Some(Lifecycle::Quarantined { .. })), "{kept:?}");
    }
}
