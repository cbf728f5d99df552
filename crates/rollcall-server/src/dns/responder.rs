//! One query to one answer, as bytes: what sockets call. No sockets here.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use hickory_proto::op::ResponseCode;

use super::budget::Budget;
use super::message::{self, Request, Transport};
use super::metrics::{Counters, Outcome};
use super::observed::observed;
use super::prepared::{Key, Prepared};
use super::reply::{Reply, reply};
use super::source::Source;
use super::zone::{Asked, Zone};

/// What all threads and connections share.
pub(super) struct Shared<S> {
    pub(super) zone: Zone,
    pub(super) source: S,
    /// See [`Budget`].
    pub(super) per_second: u32,
}

/// Answers the queries of one thread or one connection.
pub(super) struct Responder<S: Source> {
    shared: Arc<Shared<S>>,
    transport: Transport,
    counters: Counters,
    budget: Budget,
    key: Key,
    prepared: Prepared<S::Stamp>,
    /// How many answers were prepared ones.
    #[cfg(test)]
    prepared_used: usize,
}

impl<S: Source> Responder<S> {
    /// A responder with its own prepared answers and its own budget.
    pub(super) fn new(shared: Arc<Shared<S>>, transport: Transport, now: Instant) -> Self {
        // A connection proves its sender, and is bounded otherwise.
        let per_second = if transport == Transport::Udp { shared.per_second } else { 0 };
        Self {
            counters: Counters::of(transport),
            budget: Budget::new(per_second, now),
            key: Key::default(),
            prepared: Prepared::default(),
            #[cfg(test)]
            prepared_used: 0,
            shared,
            transport,
        }
    }

    /// Writes the answer to `query` into `out`. `false`: it gets none.
    pub(super) fn respond(&mut self, query: &[u8], from: IpAddr, now: Instant, out: &mut Vec<u8>) -> bool {
        observed((query, from, self.transport), out, |out| self.write(query, from, now, out))
    }

    fn write(&mut self, query: &[u8], from: IpAddr, now: Instant, out: &mut Vec<u8>) -> bool {
        let may = self.budget.take(from, now);
        // Connections do not live long enough to gain by it.
        let is_keyed = may && self.transport == Transport::Udp && self.key.take(query);
        if is_keyed {
            let stamp = |service: &_| self.shared.source.stamp(service);
            if self.prepared.answer(&self.key, query, now, stamp, out) {
                self.counters.count(Outcome::Answered);
                self.counters.prepared.increment(1);
                #[cfg(test)]
                {
                    self.prepared_used += 1;
                }
                return true;
            }
        }
        match message::read(query, self.transport) {
            Ok(request) if may => *out = self.answer(&request, is_keyed, now),
            Ok(request) => {
                self.counters.limited.increment(1);
                *out = request.write_cut();
            }
            Err(Some(refused)) if may => {
                self.counters.count(Outcome::of(refused.code, true));
                *out = refused.bytes;
            }
            Err(_) => {
                self.counters.count(Outcome::Silence);
                return false;
            }
        }
        !out.is_empty()
    }

    fn answer(&mut self, request: &Request, is_keyed: bool, now: Instant) -> Vec<u8> {
        let Shared { zone, source, .. } = &*self.shared;
        let name = request.query.name();
        let Some(located) = zone.locate(name) else {
            self.counters.count(Outcome::Refused);
            return request.write(&Reply::bare(ResponseCode::Refused)).0;
        };
        let service = match &located.asked {
            Asked::Service(wanted) if is_keyed => Some(&wanted.service),
            _ => None,
        };
        // Before the answer: what changes between the two makes the answer be made again, never be kept too long.
        let stamp = service.and_then(|service| source.stamp(service));
        let reply = reply(zone, source, &located, name, request.query.query_type());
        let (bytes, is_cut) = request.write(&reply);
        if let (Some(service), Some(stamp)) = (service, stamp)
            && !reply.answers.is_empty()
        {
            self.prepared.keep(&self.key, service, stamp, &bytes, now);
        }
        self.counters.count(Outcome::of(reply.code, reply.answers.is_empty()));
        if is_cut {
            self.counters.truncated.increment(1);
        }
        bytes
    }

    /// How many answers were prepared ones.
    #[cfg(test)]
    pub(super) fn prepared_used(&self) -> usize {
        self.prepared_used
    }
}
