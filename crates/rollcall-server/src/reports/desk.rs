//! What was reported to this node, and what it tells the others of it.
//!
//! Pages are told at most once a second, when something on them is news, and [`BYTES_PER_TELLING`] at a time, those first that
//! were told longest ago: a flood of reports makes the picture older and not the traffic heavier.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rollcall_catalog::Catalog;
use rollcall_routing::Performance;
use rollcall_routing::feedback::{Ejections, Entry, FeedbackTable, OwnLoad, Report, ReporterId, Said, TooFast, page};
use rollcall_types::{InstanceId, MonoTime, ServiceKey, ServiceName, UnixMillis};
use tracing::info;

use super::metrics;

/// Most bytes that a node tells at once: 512 kbit each second at the most.
const BYTES_PER_TELLING: usize = 64 << 10;
/// Time after which what did not change is told again, so that others know it to be as fresh as it is.
const REFRESH: Duration = Duration::from_secs(10);
/// Time after which a page is looked at for what is too old to be told.
const TIDY: Duration = Duration::from_secs(60);
/// Age of what is not told any more: by then it counts for a sixth (`factor::freshness`).
const TOLD_FOR: Duration = Duration::from_secs(300);

/// The same of loads, which change faster.
const LOAD_TOLD_FOR: Duration = Duration::from_secs(120);

/// What the others were told.
#[derive(Debug, Default)]
struct Page {
    /// Something was reported since.
    is_touched: bool,
    told: BTreeMap<(ServiceKey, InstanceId), Said>,
    told_at: Option<MonoTime>,
    /// Entries that found no room.
    left_out: usize,
}

/// What was reported to this node.
#[derive(Debug)]
pub(super) struct Desk {
    table: FeedbackTable,
    ejections: Ejections,
    /// Services that were reported on since the last review.
    reported_on: BTreeSet<ServiceKey>,
    pages: Vec<Page>,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            table: FeedbackTable::default(),
            ejections: Ejections::default(),
            reported_on: BTreeSet::new(),
            pages: (0..page::PAGES).map(|_| Page::default()).collect(),
        }
    }
}

impl Desk {
    /// Counts the reports of one call, all or none; what is on unknown instances counts as sent all the same.
    pub(super) fn take(
        &mut self,
        reporter: ReporterId,
        reports: &[Report],
        unknown: usize,
        now: UnixMillis,
    ) -> Result<(), TooFast> {
        let sent = u32::try_from(reports.len() + unknown).unwrap_or(u32::MAX);
        self.table.admit(reporter, sent, now)?;
        for report in reports {
            self.table.count(reporter, report, now);
            self.touch(&report.service, &report.instance);
            if !self.reported_on.contains(&report.service) {
                self.reported_on.insert(report.service.clone());
            }
        }
        Ok(())
    }

    /// Keeps what an instance says of its load.
    pub(super) fn take_load(&mut self, service: &ServiceKey, instance: &InstanceId, load: OwnLoad) {
        self.table.tell_load(service, instance, load);
        self.touch(service, instance);
    }

    /// Ejects instances that several callers say fail.
    pub(super) fn review(&mut self, catalog: &Catalog, now: UnixMillis) {
        for key in std::mem::take(&mut self.reported_on) {
            let service = ServiceName::try_from(key.as_str()).ok().and_then(|name| catalog.service(&name));
            let Some(service) = service else { continue };
            let instances: Vec<InstanceId> = service.instances.keys().cloned().collect();
            for ejected in self.ejections.review(&key, &instances, &mut self.table, now) {
                info!(service.name = %key, instance.id = %ejected, "callers agree that {ejected} of {key} fails: it is ejected");
                metrics::ejected();
                self.touch(&key, &ejected);
            }
        }
    }

    /// The pages that are to be published now, by key; `None` is taken back.
    pub(super) fn take_news(
        &mut self,
        catalog: &Catalog,
        now: UnixMillis,
        at: MonoTime,
    ) -> Vec<(String, Option<String>)> {
        self.pages.iter_mut().for_each(|page| page.touch_when_old(now, at));
        let mut entries = self.entries(catalog, now);
        let mut pages: Vec<u8> =
            (0..page::PAGES).filter(|number| self.pages[usize::from(*number)].is_touched).collect();
        pages.sort_by_key(|number| self.pages[usize::from(*number)].told_at);
        let (mut news, mut bytes) = (Vec::new(), 0);
        for number in pages {
            if bytes >= BYTES_PER_TELLING {
                break;
            }
            let entries = entries.remove(&number).unwrap_or_default();
            if let Some(text) = self.pages[usize::from(number)].tell(&entries, now, at) {
                bytes += text.as_ref().map_or(0, String::len);
                news.push((page::key(number), text));
            }
        }
        metrics::held(self.table.len(), self.table.evicted(), self.pages.iter().map(|page| page.left_out).sum());
        news
    }

    /// What there is to tell of touched pages, what is used most first. What is not registered any more is forgotten.
    fn entries(&mut self, catalog: &Catalog, now: UnixMillis) -> BTreeMap<u8, Vec<Entry>> {
        let mut by_page: BTreeMap<u8, Vec<Entry>> = BTreeMap::new();
        if !self.pages.iter().any(|page| page.is_touched) {
            return by_page;
        }
        let pages = &self.pages;
        let is_touched = |service: &ServiceKey, instance: &InstanceId| {
            pages[usize::from(page::page_of(service, instance))].is_touched
        };
        for mut entry in self.table.entries(is_touched) {
            let Entry { service, instance, said } = &mut entry;
            let name = ServiceName::try_from(service.as_str()).ok();
            if name.is_none_or(|name| catalog.instance(&name, instance).is_none()) {
                self.table.remove(service, instance);
                continue;
            }
            said.performance = said.performance.filter(|performance| is_fresh(performance.at, now, TOLD_FOR));
            said.load = said.load.filter(|load| is_fresh(load.report.at, now, LOAD_TOLD_FOR));
            said.contexts.retain(|(_, performance)| is_fresh(performance.at, now, TOLD_FOR));
            said.ejected_until = self.ejections.until(service, instance, now);
            if !said.is_empty() {
                by_page.entry(page::page_of(service, instance)).or_default().push(entry);
            }
        }
        by_page
    }

    fn touch(&mut self, service: &ServiceKey, instance: &InstanceId) {
        self.pages[usize::from(page::page_of(service, instance))].is_touched = true;
    }
}

impl Page {
    /// Nothing is reported, and time passed: ejections end, and what is old is told no more.
    fn touch_when_old(&mut self, now: UnixMillis, at: MonoTime) {
        let is_over = |said: &Said| said.ejected_until.is_some_and(|until| until <= now);
        let is_old = !self.told.is_empty() && self.told_at.is_some_and(|told_at| at.since(told_at) >= TIDY);
        self.is_touched |= is_old || self.told.values().any(is_over);
    }

    /// What to publish, if that is news; `Some(None)` to take it back.
    fn tell(&mut self, entries: &[Entry], now: UnixMillis, at: MonoTime) -> Option<Option<String>> {
        self.is_touched = false;
        let said = |entry: &Entry| ((entry.service.clone(), entry.instance.clone()), entry.said.clone());
        let present: BTreeMap<_, _> = entries.iter().map(said).collect();
        let must_refresh = self.told_at.is_none_or(|told_at| at.since(told_at) >= REFRESH);
        let is_same = present.len() == self.told.len()
            && present.iter().all(|(key, said)| self.told.get(key).is_some_and(|told| !is_news(said, told)));
        if is_same && (!must_refresh || present.is_empty()) {
            // What changes little is told with the next refresh.
            self.is_touched = !present.is_empty() && present != self.told;
            return None;
        }
        let had_none = self.told.is_empty();
        (self.told, self.told_at) = (present, Some(at));
        if entries.is_empty() {
            self.left_out = 0;
            return (!had_none).then_some(None);
        }
        let (text, left_out) = page::encode(entries, now);
        self.left_out = left_out;
        Some(Some(text))
    }
}

fn is_fresh(at: UnixMillis, now: UnixMillis, span: Duration) -> bool {
    u128::from(now.get().saturating_sub(at.get())) < span.as_millis()
}

/// Whether others would select otherwise if they knew what is said now.
fn is_news(said: &Said, told: &Said) -> bool {
    let differ = |one: &Option<Performance>, other: &Option<Performance>| match (one, other) {
        (None, None) => false,
        (Some(one), Some(other)) => performance_differs(one, other),
        _ => true,
    };
    let contexts_differ = said.contexts.len() != told.contexts.len()
        || said.contexts.iter().any(|(label, performance)| {
            let known = told.contexts.iter().find(|(known, _)| known == label).map(|(_, known)| *known);
            differ(&Some(*performance), &known)
        });
    let load_differs = match (said.load, told.load) {
        (None, None) => false,
        (Some(said), Some(told)) => {
            let count = |load: OwnLoad| f64::from(load.report.in_flight.unwrap_or(0));
            let used = |load: OwnLoad| load.report.used.unwrap_or(0.0);
            said.capacity != told.capacity
                || is_far(count(said), count(told), 0.05)
                || (used(said) - used(told)).abs() > 0.02
        }
        _ => true,
    };
    differ(&said.performance, &told.performance)
        || said.reporters != told.reporters
        || said.ejected_until != told.ejected_until
        || contexts_differ
        || load_differs
}

fn performance_differs(one: &Performance, other: &Performance) -> bool {
    is_far(one.latency.as_secs_f64(), other.latency.as_secs_f64(), 0.05)
        || (one.success - other.success).abs() > 0.02
        || is_far(one.samples, other.samples, 0.25)
}

/// Whether two numbers differ by more than this part of the greater.
fn is_far(one: f64, other: f64, part: f64) -> bool {
    (one - other).abs() > part * one.max(other)
}
