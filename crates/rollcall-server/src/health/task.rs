//! The task that drives the rest: catalogue, members, sightings and leases go in, probes are run, reports and snapshots come out.
//!
//! It owns slots, duties, schedule and view, and nobody else touches them; what they amount to is read through
//! [`HealthReader`]. All inputs are levels and not edges (a catalogue, a view), so that many changes at once cost one look.

mod hearing;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use rollcall_catalog::{Catalog, Instance};
use rollcall_gossip::{Digests, Handle as Gossip};
use rollcall_health::check::{Answer, Failure, Load, Outcome, worst_of};
use rollcall_health::forecast::{Change, Forecasts, Options};
use rollcall_health::{CHUNK_SLOTS, DigestKind, HealthView, RUN_TICK, Reading, RunClock, Slot, Status};
use rollcall_raft::Consensus;
use rollcall_types::{CheckKind, CheckSpec, CheckStatuses, InstanceId, MonoTime, NodeName, ServiceKey, ServiceName};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, error, info, info_span};

use super::checks::{self, SeenPage, Vouchers, WordsPage};
use super::detail::{Detail, Question};
use super::duties::{Duties, Duty, Members};
use super::forecasts;
use super::inbox::Inbox;
use super::leases::Leases;
use super::metrics;
use super::prober::Probe;
use super::schedule::{Order, Schedule, Scrape};
use super::slots::{SlotChange, Slots, expected, is_watched, slot_of, tenancy_of};
use super::tracked::{Checks, Moment, Registered, Report, Run, Tracked, has_verdict};
use super::trends::{Forecasting, News};
use super::view::{Evidence, HealthReader, HealthSnapshot, Stale, View};
use crate::clock::wall_clock;
use crate::probe::Probed;
use crate::traces::{self, TARGET};

/// Least time between two looks at the catalogue: under a load of writes, many of them cost one look.
const CATALOG_INTERVAL: Duration = Duration::from_millis(10);
/// Between two looks at the members without an event, at what aliases name, and at the metrics.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What the task works with.
pub(super) struct Parts<P> {
    pub(super) me: NodeName,
    pub(super) consensus: Consensus,
    pub(super) gossip: Gossip,
    pub(super) prober: P,
    pub(super) forecast: Options,
    pub(super) leases: Arc<Leases>,
    pub(super) questions: mpsc::Receiver<Question>,
}

/// What ended that this task began.
enum Ended {
    Probe(Order, Probed),
    Scrape(Scrape, Option<Load>),
}

/// See the [module](self).
pub(super) struct Task<P> {
    me: NodeName,
    consensus: Consensus,
    gossip: Gossip,
    prober: P,
    leases: Arc<Leases>,
    questions: mpsc::Receiver<Question>,
    digests: Digests,
    clock: RunClock,
    slots: Slots,
    duties: Duties,
    schedule: Schedule,
    view: View,
    /// What all observers said when it was last looked at.
    sightings: Arc<HealthView>,
    /// Who vouched for leases when it was last looked at.
    vouchers: Arc<HealthView>,
    /// The numbers behind what this node expects, and behind what all do.
    outbox: forecasts::Outbox,
    inbox: Inbox<Forecasts>,
    /// What this node makes of each check of what it looks at, and what all do.
    checks: checks::Outbox,
    seen_checks: Inbox<SeenPage>,
    /// What all hear of each check by heartbeats.
    words: Inbox<WordsPage>,
    stale: Stale,
    probes: JoinSet<Ended>,
    looked_at: MonoTime,
}

impl<P: Probe> Task<P> {
    pub(super) fn new(parts: Parts<P>) -> Self {
        let Parts { me, consensus, gossip, prober, forecast, leases, questions } = parts;
        let now = gossip.now();
        Self {
            digests: gossip.digests(),
            clock: RunClock::new(now),
            slots: Slots::new(),
            duties: Duties::new(me.clone(), now),
            schedule: Schedule::new(Forecasting::new(forecast), rand::random::<u64>),
            view: View::new(),
            sightings: Arc::default(),
            vouchers: Arc::default(),
            outbox: forecasts::Outbox::default(),
            inbox: Inbox::default(),
            checks: checks::Outbox::new(DigestKind::Health),
            seen_checks: Inbox::default(),
            words: Inbox::default(),
            stale: Stale::default(),
            probes: JoinSet::new(),
            looked_at: now,
            me,
            consensus,
            gossip,
            prober,
            leases,
            questions,
        }
    }

    pub(super) fn reader(&self) -> HealthReader {
        self.view.reader()
    }

    /// Runs until `stop`. Probes that run then are given up.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut revisions = self.consensus.revision_changes();
        let mut is_behind = true;
        let (mut sightings, mut vouchers) = (self.digests.changes(), self.gossip.leases().changes());
        // What came before this task listened is looked at, too.
        sightings.mark_changed();
        vouchers.mark_changed();
        let mut members = self.gossip.events();
        let mut values = self.gossip.updates();
        self.hear_anew();
        let mut tick = interval(RUN_TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut catalog_at = Instant::now();
        loop {
            let due_in = self.schedule.next_due().map(|due| due.since(self.gossip.now()));
            tokio::select! {
                () = stop.cancelled() => return,
                // Time passes.
                _ = tick.tick() => self.tick(),
                // A member came, went or was suspected.
                event = members.recv() => match event {
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => self.follow_members(),
                    // The node stops when gossip does.
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                // The catalogue changed; it is not looked at more often than makes sense.
                _ = revisions.changed(), if !is_behind => is_behind = true,
                () = sleep_until(catalog_at), if is_behind => {
                    (is_behind, catalog_at) = (false, Instant::now() + CATALOG_INTERVAL);
                    self.follow_catalog();
                }
                // Others said what they see.
                _ = sightings.changed() => self.follow_sightings(&mut values),
                // Others said whose heartbeats they hear.
                _ = vouchers.changed() => self.follow_vouchers(&mut values),
                // Others said what they expect and what they make of checks, among much else.
                update = values.recv() => match update {
                    Ok(update) => self.hear(update, &mut values),
                    Err(broadcast::error::RecvError::Lagged(_)) => self.hear_anew(),
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                // A probe ended.
                Some(ended) = self.probes.join_next() => match ended {
                    Ok(Ended::Probe(order, probed)) => self.ended(&order, probed),
                    Ok(Ended::Scrape(scrape, load)) => self.schedule.scraped(&scrape, load, self.gossip.now()),
                    Err(lost) => error!(error = %lost, "a probe was lost: {lost}"),
                },
                // A probe is due.
                () = sleep_until(Instant::now() + due_in.unwrap_or_default()), if due_in.is_some() => {}
                // Somebody wants to know more of an instance.
                Some(question) = self.questions.recv() => self.answer(question),
            }
            self.begin_due();
            self.refresh();
        }
    }

    fn tick(&mut self) {
        let at = self.clock.tick(self.gossip.now());
        self.leases.tick(self.vouchers());
        self.outbox.publish(&self.gossip);
        self.checks.tick(&self.gossip);
        if at.now.since(self.looked_at) >= LOOK_INTERVAL {
            self.looked_at = at.now;
            self.follow_members();
            self.follow_aliases(at);
            self.view.compare_peers(self.slots.catalog());
            let (schedule, sharing) = (&self.schedule, self.duties.sharing());
            metrics::series(schedule.series());
            metrics::health(schedule.len(), sharing, schedule.under_way(), schedule.behind(at.now));
        }
    }

    /// Who hears the heartbeats of instances.
    fn vouchers(&self) -> Vouchers<'_> {
        Vouchers { view: &self.vouchers, words: &self.words }
    }

    fn moment(&mut self) -> Moment {
        Moment { at: self.clock.read(self.gossip.now()), wall: wall_clock() }
    }

    /// Takes in what was registered, changed and removed.
    fn follow_catalog(&mut self) {
        let moment = self.moment();
        let changes = self.slots.follow(self.consensus.catalog());
        self.duties.reach(self.slots.tenants().len().div_ceil(CHUNK_SLOTS as usize));
        for change in &changes.slots {
            self.follow_tenant(change, moment);
        }
        for key in &changes.redefined {
            let catalog = self.slots.catalog();
            let expected = expected(catalog, key);
            let service = catalog.services_from(key.as_str()).next().filter(|(found, _)| *found == key);
            let instances = service.into_iter().flat_map(|(_, service)| service.instances.values());
            for slot in instances.filter_map(|instance| slot_of(instance)) {
                self.schedule.expect(slot, expected);
            }
        }
    }

    fn follow_tenant(&mut self, change: &SlotChange, moment: Moment) {
        let SlotChange { slot, before, after } = change;
        let is_another = match (before, after) {
            (Some(before), Some(after)) => tenancy_of(before) != tenancy_of(after),
            _ => true,
        };
        if let Some(before) = before
            && is_another
        {
            self.schedule.release(*slot);
            self.digests.withdraw(*slot, tenancy_of(before));
            self.leases.revoke(*slot, tenancy_of(before));
        }
        // What is said of other checks says nothing of these.
        let has_other_checks = match (before, after) {
            (Some(before), Some(after)) => before.spec.checks != after.spec.checks,
            _ => false,
        };
        let is_watched = |instance: &Option<Arc<Instance>>| instance.as_deref().is_some_and(is_watched);
        if is_another || is_watched(before) != is_watched(after) || has_other_checks {
            self.stale.slot(*slot);
        }
        if after.is_some() {
            self.take_up(*slot, moment);
        }
    }

    /// Does what this node has to do about the instance of a slot.
    fn take_up(&mut self, slot: Slot, moment: Moment) {
        let Some(instance) = self.slots.tenant(slot).cloned() else { return };
        let present = self.schedule.get(slot).map(Tracked::duty);
        let duty = self.duties.duty(slot.chunk());
        match (duty, present) {
            _ if !is_watched(&instance) => {
                if present.is_some() {
                    self.schedule.release(slot);
                    self.digests.withdraw(slot, tenancy_of(&instance));
                }
            }
            (Duty::Probe, _) | (Duty::Confirm, Some(Duty::Confirm)) => {
                let registered = self.registered(slot, &instance);
                self.schedule.assign(slot, &registered, duty, moment);
            }
            (Duty::Confirm | Duty::Idle, Some(_)) => {
                if let Some(report) = self.schedule.last_word(slot, moment.at.now) {
                    self.say(report);
                }
                self.schedule.release(slot);
            }
            (Duty::Confirm | Duty::Idle, None) => {}
        }
    }

    fn registered(&self, slot: Slot, instance: &Arc<Instance>) -> Registered {
        let catalog = self.slots.catalog();
        let known = self.view.snapshot().entry(slot).filter(|known| known.tenancy == tenancy_of(instance));
        let agreed = known.map_or(Status::Unknown, |known| known.agreed.status);
        let agreed_checks = known.map(|known| known.checks).filter(|checks| !checks.is_empty());
        let journaled = catalog.journaled(instance);
        Registered {
            instance: instance.clone(),
            expected: expected(catalog, &ServiceKey::from(&instance.service)),
            known: if agreed == Status::Critical { agreed } else { journaled.status },
            checks: agreed_checks.unwrap_or(journaled.checks),
            // A node that has just started has heard nobody yet; the journal knows.
            is_new: !has_verdict(agreed) && !has_verdict(journaled.status),
        }
    }

    /// Takes in who can look, and hands over what others look at now.
    fn follow_members(&mut self) {
        let moment = self.moment();
        let members = Members::of(&self.gossip.view(), &self.consensus.status());
        let instances = usize::try_from(self.slots.catalog().instance_count()).unwrap_or(usize::MAX);
        let moved = self.duties.update(&members, instances, moment.at.now);
        for chunk in moved {
            self.stale.chunk(chunk);
            chunk.slots().for_each(|slot| self.take_up(slot, moment));
            self.doubt(chunk, &HealthView::new(), moment);
        }
    }

    fn follow_aliases(&mut self, at: Reading) {
        let (catalog, snapshot) = (self.slots.catalog(), self.view.snapshot());
        // Thousands of aliases may name the same service: each name is looked up once.
        let mut known: BTreeMap<(ServiceKey, Option<InstanceId>), Status> = BTreeMap::new();
        let status_of = |kind: &CheckKind| {
            let CheckKind::Alias { service, instance } = kind else { return Status::Unknown };
            let named = (ServiceKey::from(service), instance.clone());
            *known.entry(named).or_insert_with(|| named_status(catalog, snapshot, service, instance.as_ref()))
        };
        let reports = self.schedule.follow_aliases(status_of, at.now);
        reports.into_iter().for_each(|report| self.say(report));
    }

    /// Begins what is due.
    fn begin_due(&mut self) {
        let at = self.clock.read(self.gossip.now());
        let vouchers = Vouchers { view: &self.vouchers, words: &self.words };
        let due = self.schedule.due(vouchers, at);
        due.reports.into_iter().for_each(|report| self.say(report));
        for order in due.orders {
            let prober = self.prober.clone();
            self.probes.spawn(async move {
                let probed = AssertUnwindSafe(run(&prober, &order)).catch_unwind().await;
                let probed = probed.unwrap_or_else(|_| panicked(&order));
                Ended::Probe(order, probed)
            });
        }
        for scrape in due.scrapes {
            let prober = self.prober.clone();
            self.probes.spawn(async move {
                let load = AssertUnwindSafe(prober.load(&scrape.url, scrape.timeout)).catch_unwind().await;
                Ended::Scrape(scrape, load.unwrap_or_default())
            });
        }
    }

    fn ended(&mut self, order: &Order, probed: Probed) {
        let now = self.gossip.now();
        let run = Run { outcome: probed.outcome, output: probed.output, at: probed.at };
        if let Some(report) = self.schedule.ended(order, run, now) {
            self.say(report);
        }
    }

    /// Says to the others what this node sees.
    fn say(&mut self, report: Report) {
        let Report { slot, tenancy, observation, forecast, checks, news, valid_for } = report;
        let now = self.gossip.now();
        self.outbox.say(slot, tenancy, forecast, (now, valid_for));
        // Before the digest, so that who hears that a status changed knows of which check.
        match checks {
            Checks::Untold => self.checks.tell(slot, tenancy, CheckStatuses::default(), (now, valid_for)),
            Checks::Pass(checks) => self.checks.fade(slot, tenancy, checks, now),
            Checks::Told(checks) => self.checks.tell(slot, tenancy, checks, (now, valid_for)),
        }
        self.checks.publish(&self.gossip);
        if let Some(instance) = news.and(self.slots.tenant(slot)) {
            news.iter().for_each(|news| tell(instance, news));
        }
        match observation {
            // What finds no room in gossip is held, counted and logged there.
            Some(observation) => drop(self.digests.observe(slot, tenancy, observation, valid_for)),
            None => self.digests.withdraw(slot, tenancy),
        }
    }

    /// Publishes what changed.
    fn refresh(&mut self) {
        if !self.stale.is_empty() {
            let stale = std::mem::take(&mut self.stale);
            let evidence = Evidence { sightings: &self.sightings, forecasts: &self.inbox, checks: &self.seen_checks };
            self.view.refresh(stale, self.slots.tenants(), &self.duties, evidence, wall_clock());
        }
    }

    fn answer(&mut self, question: Question) {
        let now = self.gossip.now();
        let tracked = self.schedule.get(question.slot);
        let tracked = tracked.filter(|tracked| tenancy_of(tracked.instance()) == question.tenancy);
        // Who asked may have gone.
        let _ = question.reply.send(Detail {
            watch: self.duties.watch(question.slot.chunk()).clone(),
            seen: tracked.map(|tracked| super::detail::seen(tracked, now, wall_clock())),
        });
    }
}

/// What this node itself expects, for its log.
fn tell(instance: &Instance, news: &News) {
    let (service, id) = (&instance.service, &instance.id);
    let numbers = news.forecast.map(|forecast| format!(": {forecast}")).unwrap_or_default();
    match news.change {
        Change::PredictedFailure => {
            info!(service.name = %service, instance.id = %id, "{service}/{id} is predicted to fail{numbers}")
        }
        Change::Degrading => {
            info!(service.name = %service, instance.id = %id, "{service}/{id} is getting worse{numbers}")
        }
        Change::Recovered => {
            info!(service.name = %service, instance.id = %id, "{service}/{id} is not predicted to fail any more")
        }
        Change::Withdrawn => info!(
            service.name = %service, instance.id = %id,
            "{service}/{id} was predicted to fail, and nothing was heard of it since for too long to say so"
        ),
    }
}

async fn run<P: Probe>(prober: &P, order: &Order) -> Probed {
    match order.spec() {
        Some(check) => {
            let span = span(order);
            let probed = prober.probe(check).instrument(span.clone()).await;
            if !span.is_disabled() {
                traces::tell(&span, "probe.answer", format!("{:?}", probed.outcome.answer));
            }
            probed
        }
        // An order is made of a check of its instance.
        None => panicked(order),
    }
}

/// The span of a probe that is traced, or nothing.
fn span(order: &Order) -> Span {
    if !traces::begins() {
        return Span::none();
    }
    let Instance { service, id, .. } = &*order.instance;
    let span = info_span!(
        target: TARGET, "probe.run", otel.kind = "client", trace.id = Empty,
        service.name = %service, instance.id = %id, check.id = %order.check
    );
    traces::enter(span, None)
}

/// A fault of ours must not pass for an answer.
fn panicked(order: &Order) -> Probed {
    error!(check.id = %order.check, "the probe of check {} broke; this is a defect", order.check);
    let outcome = Outcome { answer: Answer::Failed(Failure::Forbidden), latency: Duration::ZERO };
    Probed { outcome, output: "the probe itself broke; see the log of this node".into(), at: wall_clock() }
}

/// What an alias follows: the worst of the instances that it names and that have no alias themselves. Aliases that followed
/// aliases could hold each other for failing for ever.
fn named_status(
    catalog: &Catalog,
    snapshot: &HealthSnapshot,
    service: &ServiceName,
    instance: Option<&InstanceId>,
) -> Status {
    let Some(service) = catalog.service(service) else { return Status::Unknown };
    let is_alias = |check: &CheckSpec| matches!(check.kind, CheckKind::Alias { .. });
    let status =
        |other: &Arc<Instance>| (!other.spec.checks.iter().any(is_alias)).then(|| snapshot.of(catalog, other).status);
    match instance {
        Some(id) => worst_of(service.instances.get(id).and_then(status)),
        None => worst_of(service.instances.values().filter_map(status)),
    }
}
