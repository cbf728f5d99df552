//! What this node knows, as DNS asks for it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use rollcall_catalog::{Instance, Service};
use rollcall_raft::{Consensus, PeerNode};
use rollcall_routing::{PICKS_MAX, Query, Refusal, Traits};
use rollcall_types::{DnsTtl, Endpoint, Host, ServiceKey, ServiceName, Tag};

use super::reverse::Reverse;
use super::source::{Found, Holder, Source, Target, Wanted};
use crate::health::{HealthReader, HealthSnapshot};
use crate::selection::{Among, Picked, Selector, Unpicked};

/// Most tags that are the same without case.
const SPELLINGS_MAX: usize = 4;

/// The views of this node.
pub(crate) struct Live {
    consensus: Consensus,
    health: HealthReader,
    selector: Selector,
    reverse: Reverse,
}

/// What an answer about a service was made from: what was registered and what is observed. What else selection reads (load,
/// reports, time) goes into the next draw.
pub(super) struct Stamp {
    service: Arc<Service>,
    health: Arc<HealthSnapshot>,
}

impl PartialEq for Stamp {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.service, &other.service) && Arc::ptr_eq(&self.health, &other.health)
    }
}

impl Live {
    /// Answers by these.
    pub(crate) fn new(consensus: Consensus, health: HealthReader, selector: Selector) -> Self {
        Self { consensus, health, selector, reverse: Reverse::default() }
    }

    fn select(&self, service: &ServiceName, tags: &[Tag]) -> Result<Picked, Unpicked> {
        let require = Traits { tags, ..Traits::default() };
        let query = Query { n: PICKS_MAX, require, ..Query::default() };
        self.selector.select(&self.consensus.catalog(), Among::Service(service), &query)
    }

    /// Those of the instances that have the tag in whatever case.
    fn tagged(&self, wanted: &Wanted, tag: &str) -> Found {
        let exact: Option<Tag> = Tag::try_from(tag).ok();
        let none_fits = match exact.as_ref().map(|tag| self.select(&wanted.service, std::slice::from_ref(tag))) {
            Some(Ok(picked)) => return found(wanted, [picked]),
            Some(Err(Unpicked::Refused(Refusal::NoneFits(_)))) | None => true,
            Some(Err(_)) => false,
        };
        let catalog = self.consensus.catalog();
        let Some(service) = catalog.service(&wanted.service).filter(|_| none_fits) else { return Found::Nobody };
        let spellings = tags_of(service).filter(|other| other.eq_ignore_ascii_case(tag));
        let spellings: BTreeSet<&Tag> = spellings.take(SPELLINGS_MAX).collect();
        let picked = spellings.iter().filter_map(|tag| self.select(&wanted.service, std::slice::from_ref(*tag)).ok());
        match found(wanted, picked) {
            Found::Nobody if tags_of(service).any(|longer| ends_with_labels(longer, tag)) => Found::Between,
            found => found,
        }
    }

    /// The members of the cluster, as Raft knows them.
    fn member(&self, is_meant: impl Fn(&PeerNode) -> bool) -> Vec<PeerNode> {
        let status = self.consensus.status();
        status.voters.into_values().chain(status.learners.into_values()).filter(is_meant).collect()
    }
}

impl Source for Live {
    type Stamp = Stamp;

    fn stamp(&self, service: &ServiceName) -> Option<Stamp> {
        let service = self.consensus.catalog().service(service)?.clone();
        Some(Stamp { service, health: self.health.load() })
    }

    fn pick(&self, wanted: &Wanted) -> Found {
        match &wanted.tag {
            Some(tag) => self.tagged(wanted, tag),
            None => found(wanted, self.select(&wanted.service, &[])),
        }
    }

    fn ttl_s(&self, service: &ServiceName) -> Option<u32> {
        let catalog = self.consensus.catalog();
        catalog.service(service)?.definition.as_ref()?.selection.dns_ttl.map(DnsTtl::seconds)
    }

    fn node(&self, name: &str) -> Option<Host> {
        let member = self.member(|member| member.name.eq_ignore_ascii_case(name)).pop()?;
        host_of(&member)
    }

    fn holders(&self, address: IpAddr) -> Vec<Holder> {
        let is_there = |member: &PeerNode| host_of(member).and_then(|host| host.ip()) == Some(address);
        let nodes = self.member(is_there).into_iter().map(|member| Holder::Node(member.name.to_string()));
        let services = self.reverse.services(&self.consensus.catalog(), address);
        let services = services.iter().map(ServiceKey::as_str).map(str::to_owned).map(Holder::Service);
        nodes.chain(services).collect()
    }

    fn serial(&self) -> u32 {
        // Serials wrap (RFC 1982).
        self.consensus.catalog().revision().get() as u32
    }
}

/// The host of a member's HTTP address: where clients reach it.
fn host_of(member: &PeerNode) -> Option<Host> {
    let (host, _port) = member.http_addr.rsplit_once(':')?;
    Host::try_from(host.trim_start_matches('[').trim_end_matches(']')).ok()
}

fn found(wanted: &Wanted, picked: impl IntoIterator<Item = Picked>) -> Found {
    let mut targets = Vec::new();
    for picked in picked {
        for (pick, instance) in picked.iter() {
            let Some(endpoint) = endpoint_of(instance, wanted.endpoint.as_deref()) else { continue };
            targets.push(Target {
                host: endpoint.host.clone(),
                port: endpoint.port.get(),
                weight: instance.spec.weight.get(),
                score: pick.score.value(),
            });
        }
    }
    if targets.is_empty() { Found::Nobody } else { Found::Targets(targets) }
}

/// The endpoint of this name, else the first of this protocol.
fn endpoint_of<'i>(instance: &'i Instance, wanted: Option<&str>) -> Option<&'i Endpoint> {
    let endpoints = &instance.spec.endpoints;
    let Some(wanted) = wanted else { return endpoints.first() };
    let by =
        |text: fn(&Endpoint) -> &str| endpoints.iter().find(|endpoint| text(endpoint).eq_ignore_ascii_case(wanted));
    by(|endpoint| endpoint.name.as_str()).or_else(|| by(|endpoint| endpoint.protocol.as_str()))
}

/// All tags that instances of a service can be asked for by, with repetitions.
fn tags_of(service: &Service) -> impl Iterator<Item = &Tag> {
    let own = service.definition.iter().flat_map(|definition| definition.tags.iter());
    own.chain(service.instances.values().flat_map(|instance| instance.spec.tags.iter()))
}

/// Whether `tag` is the last labels of a longer one, compared without case.
fn ends_with_labels(longer: &str, tag: &str) -> bool {
    let rest = longer.len().checked_sub(tag.len() + 1);
    rest.is_some_and(|rest| {
        longer.as_bytes()[rest] == b'.' && longer.as_bytes()[rest + 1..].eq_ignore_ascii_case(tag.as_bytes())
    })
}
