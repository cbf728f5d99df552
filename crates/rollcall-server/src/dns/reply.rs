//! From a question to records. Pure: a function of the zone and of what the node knows.
//!
//! - No such name, or nobody who may be used → NXDOMAIN; the name exists without such records → no error and no records. Both
//!   carry the SOA record, whose minimum (0 s) keeps resolvers from remembering that something is not there.
//! - Hosts that are addresses become A and AAAA records; hosts that are names become the target of SRV records, and of a CNAME
//!   record when no instance has an address (RFC 1034 §3.6.2 allows one CNAME only: the best).
//! - Answers are in the order of selection, the best first. SRV records all have priority 1: who is well known to fail is not
//!   in the answer at all. Their weight is `100 · score · weight of the registration`, at least 1; when the largest of an
//!   answer would pass 65,535 all are scaled down by the same factor.
//! - ANY gets the HINFO record of RFC 8482 §4.2 instead of everything.

use std::net::IpAddr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, HINFO, NS, PTR, SOA, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use rollcall_types::Host;

use super::source::{Found, Holder, Source, Target};
use super::zone::{Asked, Located, Zone};

/// Weight of an SRV record for a score of 1 and a weight of 1.
const SRV_WEIGHT_UNIT: f64 = 100.0;
/// Seconds for which the SOA record and the negative answers that it comes with may be kept.
const NEGATIVE_TTL_S: u32 = 0;

/// An answer, not yet encoded.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    /// How it went.
    pub(super) code: ResponseCode,
    /// Whether we are the ones who know.
    pub(super) authoritative: bool,
    /// The records, in order, each with those that save the next question.
    pub(super) answers: Vec<(Record, Vec<Record>)>,
    /// Who is responsible, when there is no answer.
    pub(super) authority: Option<Record>,
}

impl Reply {
    /// Without records.
    pub(super) fn bare(code: ResponseCode) -> Self {
        Self { code, authoritative: false, answers: Vec::new(), authority: None }
    }
}

/// What is asked of whom.
struct Desk<'a, S> {
    zone: &'a Zone,
    source: &'a S,
    located: &'a Located,
    /// As it was asked, in its case.
    name: &'a Name,
    kind: RecordType,
}

/// Answers a question about `name`, which `located` explains.
pub(super) fn reply<S: Source>(zone: &Zone, source: &S, located: &Located, name: &Name, kind: RecordType) -> Reply {
    let desk = Desk { zone, source, located, name, kind };
    let found = match &located.asked {
        Asked::Apex => Some(desk.apex()),
        Asked::Between => Some(Vec::new()),
        Asked::Nowhere => None,
        Asked::Service(wanted) => match source.pick(wanted) {
            Found::Nobody => None,
            Found::Between => Some(Vec::new()),
            Found::Targets(targets) => {
                let ttl_s = source.ttl_s(&wanted.service).unwrap_or_else(|| zone.ttl_s(&wanted.service));
                Some(desk.targets(&targets, ttl_s))
            }
        },
        Asked::Node(node) => source.node(node).map(|host| desk.hosts([&host], zone.node_ttl_s())),
        Asked::Address(address) => Some(desk.hosts_of(&[*address], zone.node_ttl_s())),
        Asked::Reverse(address) => desk.holders(*address),
    };
    desk.finish(found)
}

impl<S: Source> Desk<'_, S> {
    fn finish(&self, found: Option<Vec<Answered>>) -> Reply {
        let code = if found.is_some() { ResponseCode::NoError } else { ResponseCode::NXDomain };
        let answers = match found {
            Some(_) if self.kind == RecordType::ANY => vec![self.alone(self.minimal())],
            found => found.unwrap_or_default(),
        };
        let authority = answers.is_empty().then(|| self.soa()).flatten();
        Reply { code, authoritative: true, answers, authority }
    }

    /// What stands for everything when everything is asked for.
    fn minimal(&self) -> Record {
        self.record(NEGATIVE_TTL_S, RData::HINFO(HINFO::new("RFC8482".to_owned(), String::new())))
    }

    fn record(&self, ttl_s: u32, data: RData) -> Record {
        Record::from_rdata(self.name.clone(), ttl_s, data)
    }

    fn alone(&self, record: Record) -> Answered {
        (record, Vec::new())
    }

    fn soa(&self) -> Option<Record> {
        let home = &self.located.home;
        let contact = Name::from_labels([&b"hostmaster"[..]]).ok()?.append_domain(home).ok()?;
        let serial = self.source.serial();
        let soa = SOA::new(self.zone.own_name_in(home)?, contact, serial, 3_600, 600, 86_400, NEGATIVE_TTL_S);
        Some(Record::from_rdata(self.located.apex.clone(), NEGATIVE_TTL_S, RData::SOA(soa)))
    }

    fn apex(&self) -> Vec<Answered> {
        match self.kind {
            RecordType::SOA => self.soa().map(|soa| self.alone(self.record(soa.ttl, soa.data))).into_iter().collect(),
            RecordType::NS => self.name_server().into_iter().collect(),
            _ => Vec::new(),
        }
    }

    /// This node: others may not serve DNS.
    fn name_server(&self) -> Option<Answered> {
        let name = self.zone.own_name_in(&self.located.home)?;
        let ttl_s = self.zone.node_ttl_s();
        let address = self.source.node(&self.zone.node.to_ascii_lowercase()).and_then(|host| host.ip());
        let glue = address.map(|address| Record::from_rdata(name.clone(), ttl_s, data_of(address)));
        Some((self.record(ttl_s, RData::NS(NS(name))), glue.into_iter().collect()))
    }

    fn targets(&self, targets: &[Target], ttl_s: u32) -> Vec<Answered> {
        if self.kind == RecordType::SRV {
            return self.srv(targets, ttl_s);
        }
        self.hosts(targets.iter().map(|target| &target.host), ttl_s)
    }

    fn srv(&self, targets: &[Target], ttl_s: u32) -> Vec<Answered> {
        let weight = |target: &Target| SRV_WEIGHT_UNIT * target.score * f64::from(target.weight);
        let largest = targets.iter().map(weight).fold(0.0, f64::max);
        let scale = (f64::from(u16::MAX) / largest).min(1.0);
        let one = |target: &Target| {
            let address = target.host.ip();
            let name = match address {
                Some(address) => self.zone.address_in(&self.located.home, address)?,
                None => name_of(&target.host)?,
            };
            // A cast from a float stays within the bounds of the integer.
            let weight = ((weight(target) * scale).round() as u16).max(1);
            let extra = address.map(|address| Record::from_rdata(name.clone(), ttl_s, data_of(address)));
            let data = RData::SRV(SRV::new(1, weight, target.port, name));
            Some((self.record(ttl_s, data), extra.into_iter().collect()))
        };
        targets.iter().filter_map(one).collect()
    }

    /// Addresses of the kind that is asked for, each once; or where to go on when there are only names.
    fn hosts<'h>(&self, hosts: impl IntoIterator<Item = &'h Host>, ttl_s: u32) -> Vec<Answered> {
        let (mut addresses, mut first_name) = (Vec::new(), None);
        for host in hosts {
            match host.ip() {
                Some(address) if !addresses.contains(&address) => addresses.push(address),
                Some(_) => {}
                None => first_name = first_name.or(Some(host)),
            }
        }
        let may_alias = matches!(self.kind, RecordType::A | RecordType::AAAA | RecordType::CNAME);
        match first_name.filter(|_| addresses.is_empty() && may_alias).and_then(name_of) {
            Some(name) => vec![self.alone(self.record(ttl_s, RData::CNAME(CNAME(name))))],
            None => self.hosts_of(&addresses, ttl_s),
        }
    }

    fn hosts_of(&self, addresses: &[IpAddr], ttl_s: u32) -> Vec<Answered> {
        let datas = addresses.iter().copied().map(data_of).filter(|data| data.record_type() == self.kind);
        datas.map(|data| self.alone(self.record(ttl_s, data))).collect()
    }

    fn holders(&self, address: IpAddr) -> Option<Vec<Answered>> {
        let holders = self.source.holders(address);
        if holders.is_empty() {
            return None;
        }
        if self.kind != RecordType::PTR {
            return Some(Vec::new());
        }
        let home = &self.located.home;
        let named = holders.iter().filter_map(|holder| match holder {
            Holder::Node(name) => self.zone.name_in(home, name, "node"),
            Holder::Service(name) => self.zone.service_in(home, name),
        });
        let ttl_s = self.zone.node_ttl_s();
        Some(named.map(|name| self.alone(self.record(ttl_s, RData::PTR(PTR(name))))).collect())
    }
}

/// A record with those that save the next question.
type Answered = (Record, Vec<Record>);

fn data_of(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

/// A host that is a name, as a name.
fn name_of(host: &Host) -> Option<Name> {
    Name::from_labels(host.as_str().trim_end_matches('.').split('.').map(str::as_bytes)).ok()
}
