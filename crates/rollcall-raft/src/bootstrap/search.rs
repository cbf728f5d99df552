//! The search of a new node for a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use rollcall_types::{ClusterId, NodeId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::{AskError, Committed, ask};
use crate::consensus::jitter;
use crate::error::Error;
use crate::identity::{Founder, Member};
use crate::transport::dial::DialError;
use crate::transport::handshake::HandshakeError;
use crate::transport::hub::Hub;
use crate::transport::message::{DiscoverReply, DiscoverRequest, Newcomer, Offer};

/// Addresses asked in one round.
const ADDRESSES_MAX: usize = 128;
/// Between rounds, half of it at random.
const ROUND_PAUSE: Duration = Duration::from_millis(150);
/// Between two notes of the same difficulty in the log.
const NOTE_EVERY: Duration = Duration::from_secs(10);

/// What the search came to.
pub(crate) struct Found {
    pub(crate) member: Member,
    /// Whom to tell when it is written down.
    pub(crate) agreed: Option<oneshot::Sender<()>>,
}

/// A search under way.
pub(crate) struct Search<'a> {
    pub(crate) hub: &'a Hub,
    pub(crate) newcomer: Newcomer,
    pub(crate) join: &'a [String],
    pub(crate) offers: mpsc::Receiver<Committed>,
}

/// What one round has seen.
#[derive(Default)]
struct Sights {
    /// Members that answered, by cluster.
    clusters: BTreeMap<ClusterId, Seen>,
    /// Addresses heard of.
    known: BTreeSet<String>,
}

/// A member that answered.
#[derive(Clone)]
struct Seen {
    address: String,
    leader: Option<String>,
    founders: Vec<Founder>,
}

impl Search<'_> {
    /// Searches until the node belongs to a cluster.
    pub(crate) async fn run(&mut self) -> Result<Found, Error> {
        let Self { hub, newcomer, join, offers } = self;
        let mut known: BTreeSet<String> = join.iter().cloned().collect();
        let mut scout = Scout { hub, newcomer, offer: None, noted: None };
        info!("'{}' belongs to no cluster yet; asking {} addresses", scout.newcomer.peer.name, known.len());
        loop {
            let heard = tokio::select! {
                biased;
                // Another founder's offer, to which this node has agreed, is committed.
                committed = offers.recv() => {
                    if let Some((offer, done)) = committed
                        && let Some(member) = member_of(scout.newcomer, &offer)
                    {
                        return Ok(Found { member, agreed: Some(done) });
                    }
                    continue;
                }
                round = scout.round(&known) => match round? {
                    Ok(found) => return Ok(found),
                    Err(heard) => heard,
                },
            };
            known.extend(heard.into_iter().take(ADDRESSES_MAX.saturating_sub(known.len())));
            sleep(jitter(ROUND_PAUSE)).await;
        }
    }
}

/// This node as a founder of `offer`.
fn member_of(us: &Newcomer, offer: &Offer) -> Option<Member> {
    let founder = offer.founders.iter().find(|founder| founder.nonce == us.nonce)?;
    Some(Member { cluster: offer.cluster, node: founder.node, founders: offer.founders.clone(), initializer: false })
}

/// Asks around in the name of one new node.
struct Scout<'a> {
    hub: &'a Hub,
    newcomer: &'a Newcomer,
    /// The offer this node made; the same again while the founders are the same, since others may be bound to it.
    offer: Option<Offer>,
    noted: Option<Instant>,
}

impl Scout<'_> {
    /// One round of questions; the addresses heard of when it led to nothing.
    async fn round(&mut self, known: &BTreeSet<String>) -> Result<Result<Found, BTreeSet<String>>, Error> {
        let sights = self.look(known).await?;
        if let Some(found) = self.join(&sights).await? {
            return Ok(Ok(found));
        }
        if sights.clusters.is_empty()
            && let Some(found) = self.found().await
        {
            return Ok(Ok(found));
        }
        Ok(Err(sights.known))
    }

    /// Asks every address who is there.
    async fn look(&mut self, known: &BTreeSet<String>) -> Result<Sights, Error> {
        let own = &self.newcomer.peer.peer_addr;
        let addresses: Vec<&String> = known.iter().filter(|address| *address != own).collect();
        let question = DiscoverRequest::Describe(self.newcomer.clone());
        let answers = join_all(addresses.iter().map(|address| ask(self.hub, address, &question))).await;
        let mut sights = Sights::default();
        for (address, answer) in addresses.into_iter().zip(answers) {
            match answer {
                Ok(DiscoverReply::Newcomer { newcomer, known }) => {
                    sights.known.extend(known);
                    sights.known.insert(newcomer.peer.peer_addr.clone());
                    self.hub.discovery.note_seen(newcomer, Instant::now());
                }
                Ok(DiscoverReply::Member { cluster, leader, founders, members }) => {
                    sights.known.extend(members);
                    let seen = Seen { address: address.clone(), leader, founders };
                    let place = sights.clusters.entry(cluster);
                    let known = place.or_insert_with(|| Seen { leader: None, founders: Vec::new(), ..seen.clone() });
                    if known.leader.is_none() {
                        known.leader = seen.leader;
                    }
                    if known.founders.is_empty() {
                        known.founders = seen.founders;
                    }
                }
                Err(AskError::Dial(DialError::Handshake(HandshakeError::Secret | HandshakeError::Io(_)))) => {
                    self.note(&format!("{address} does not accept this node's cluster secret"));
                }
                Ok(_) | Err(_) => {}
            }
        }
        if let [first, second, ..] = &sights.clusters.iter().collect::<Vec<_>>()[..] {
            let (ours, theirs) = (*first.0, *second.0);
            return Err(Error::ForeignCluster { address: second.1.address.clone(), theirs, ours });
        }
        Ok(sights)
    }

    /// Joins the cluster that was seen.
    async fn join(&mut self, sights: &Sights) -> Result<Option<Found>, Error> {
        let Some((cluster, seen)) = sights.clusters.first_key_value() else { return Ok(None) };
        let offer = Offer { cluster: *cluster, founders: seen.founders.clone() };
        if let Some(member) = member_of(self.newcomer, &offer) {
            return Ok(Some(Found { member, agreed: None }));
        }
        // The cluster may be the one this node has agreed to found: then its commit is on its way.
        if self.hub.discovery.agreed(Instant::now()).is_some() {
            return Ok(None);
        }
        let address = seen.leader.as_ref().unwrap_or(&seen.address);
        match ask(self.hub, address, &DiscoverRequest::Join(self.newcomer.clone())).await {
            Ok(DiscoverReply::Joined { cluster, node }) => {
                let member = Member { cluster, node, founders: Vec::new(), initializer: false };
                Ok(Some(Found { member, agreed: None }))
            }
            Ok(DiscoverReply::NameTaken { node }) => {
                Err(Error::NameTaken { name: self.newcomer.peer.name.clone(), node })
            }
            Ok(_) | Err(_) => {
                self.note(&format!("the leader of cluster {cluster} does not answer yet"));
                Ok(None)
            }
        }
    }

    /// Founds a cluster, when all are there and this node is the one to do it.
    async fn found(&mut self) -> Option<Found> {
        let expect = self.newcomer.expect;
        if expect == 0 {
            self.note("no cluster answers; this node only joins one");
            return None;
        }
        let seen = self.hub.discovery.seen(Instant::now());
        if let Some(other) = seen.iter().find(|other| other.expect != 0 && other.expect != expect) {
            self.note(&format!("'{}' expects {} founders, this node {expect}", other.peer.name, other.expect));
        }
        let mut founders: Vec<&Newcomer> = seen.iter().filter(|other| other.expect == expect).collect();
        founders.push(self.newcomer);
        founders.sort_by_key(|founder| founder.rank());
        if founders.len() != expect as usize {
            self.note(&format!("{} new nodes are there, {expect} found a cluster", founders.len()));
            return None;
        }
        if founders.windows(2).any(|pair| pair[0].peer.name == pair[1].peer.name) {
            self.note("two new nodes have the same name");
            return None;
        }
        if founders[0].nonce != self.newcomer.nonce {
            return None;
        }
        let founders = founders.into_iter().zip(1..).map(|(founder, id)| Founder {
            node: NodeId::new(id),
            nonce: founder.nonce,
            peer: founder.peer.clone(),
        });
        let offer = self.offer_to(founders.collect());
        self.prepare(&offer).await.then(|| {
            let member = member_of(self.newcomer, &offer)?;
            Some(Found { member: Member { initializer: true, ..member }, agreed: None })
        })?
    }

    fn offer_to(&mut self, founders: Vec<Founder>) -> Offer {
        match &self.offer {
            Some(offer) if offer.founders == founders => offer.clone(),
            _ => {
                let offer = Offer { cluster: ClusterId::new(rand::random()), founders };
                self.offer = Some(offer.clone());
                offer
            }
        }
    }

    /// Has every founder agree, this node first.
    async fn prepare(&mut self, offer: &Offer) -> bool {
        if let Err(why) = self.hub.discovery.agree(offer, Instant::now()) {
            self.note(&why);
            return false;
        }
        let others = offer.founders.iter().filter(|founder| founder.nonce != self.newcomer.nonce);
        let question = DiscoverRequest::Prepare(offer.clone());
        let answers = join_all(others.map(|founder| ask(self.hub, &founder.peer.peer_addr, &question))).await;
        let mut all_agree = true;
        for answer in answers {
            match answer {
                Ok(DiscoverReply::Agreed) => {}
                Ok(DiscoverReply::Declined(why)) => {
                    self.note(&why);
                    all_agree = false;
                }
                Ok(_) | Err(_) => all_agree = false,
            }
        }
        all_agree
    }

    /// Tells the operator what this node waits for, now and then.
    fn note(&mut self, what: &str) {
        let now = Instant::now();
        if self.noted.is_none_or(|at| now.duration_since(at) > NOTE_EVERY) {
            self.noted = Some(now);
            warn!("'{}' waits: {what}", self.newcomer.peer.name);
        }
    }
}
