//! How nodes find each other: N new ones found exactly one cluster, a later one joins it.
//!
//! A new node asks every address it knows *who are you?* on a discover connection, which is authenticated by the cluster
//! secret, and tells who it is itself.
//! - Someone belongs to a cluster: the node asks its leader for an id, and starts as a learner.
//! - Exactly `bootstrap_expect` new nodes see each other: the lowest by name and nonce offers a cluster to the others
//!   (*prepare*). A node agrees to one offer at a time, for [`OFFER_LIFETIME`], and only if it lists every new node that it
//!   has seen itself. When all agree, the initializer writes its own identity with the list of founders, and then tells the
//!   others (*commit*), who write theirs. Only then does Raft begin.
//!
//! Why this cannot found two clusters: an offer needs the agreement of all N, none of whom agrees to a second one
//! meanwhile or when it knows of further new nodes. After a crash, an initializer that had written its identity calls its
//! founders again; a founder that missed the call finds its own name and nonce in the list of any member it asks.
//!
//! Limit: more than N new nodes in two groups that cannot see each other may found two clusters. So may two operators.

mod search;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rollcall_types::NodeName;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

pub(crate) use self::search::{Found, Search};
use crate::codec::{self, Kind};
use crate::identity::{Founder, Member};
use crate::transport::dial::{self, DialError};
use crate::transport::hub::Hub;
use crate::transport::message::{DiscoverReply, DiscoverRequest, Newcomer, Offer};
use crate::transport::{exchange_frame, split_frame};

/// How long an agreement to an offer binds. Founding takes milliseconds; this frees nodes whose initializer died.
const OFFER_LIFETIME: Duration = Duration::from_secs(10);
/// How long a new node that was seen counts as being there.
const SIGHT_LIFETIME: Duration = Duration::from_secs(5);
/// New nodes remembered; more are not needed to see that there are too many.
const SIGHTS_MAX: usize = 256;
/// Longest wait for an answer to a question.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest wait for an answer to a join, which takes two writes.
const JOIN_TIMEOUT: Duration = Duration::from_secs(30);
/// Between calls to founders that do not answer.
const CALL_PAUSE: Duration = Duration::from_millis(200);

/// An offer that was committed, and whom to tell when this node has written it down.
pub(crate) type Committed = (Offer, oneshot::Sender<()>);

/// What this node answers on discover connections.
pub(crate) struct Discovery {
    us: Newcomer,
    state: Mutex<State>,
    committed: mpsc::Sender<Committed>,
}

#[derive(Default)]
struct State {
    /// Set when this node belongs to a cluster.
    member: Option<Member>,
    /// The offer this node agreed to, and until when it is bound.
    agreed: Option<(Offer, Instant)>,
    /// New nodes by nonce, and when each was last seen.
    seen: BTreeMap<u128, (Newcomer, Instant)>,
}

impl Discovery {
    /// What to answer with, and the offers that are committed to this node.
    pub(crate) fn new(us: Newcomer, member: Option<&Member>) -> (Self, mpsc::Receiver<Committed>) {
        let (committed, offers) = mpsc::channel(1);
        let state = State { member: member.cloned(), ..State::default() };
        (Self { us, state: Mutex::new(state), committed }, offers)
    }

    pub(crate) fn name(&self) -> &NodeName {
        &self.us.peer.name
    }

    pub(crate) fn note_member(&self, member: &Member) {
        self.lock().member = Some(member.clone());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn note_seen(&self, newcomer: Newcomer, now: Instant) {
        let mut state = self.lock();
        if newcomer.nonce != self.us.nonce
            && (state.seen.len() < SIGHTS_MAX || state.seen.contains_key(&newcomer.nonce))
        {
            state.seen.insert(newcomer.nonce, (newcomer, now));
        }
    }

    /// The new nodes seen lately, this one not among them.
    fn seen(&self, now: Instant) -> Vec<Newcomer> {
        let mut state = self.lock();
        state.seen.retain(|_, (_, at)| now.duration_since(*at) < SIGHT_LIFETIME);
        state.seen.values().map(|(newcomer, _)| newcomer.clone()).collect()
    }

    /// The offer this node is bound to.
    fn agreed(&self, now: Instant) -> Option<Offer> {
        let state = self.lock();
        state.agreed.as_ref().filter(|(_, until)| now < *until).map(|(offer, _)| offer.clone())
    }

    /// Agrees to `offer`, or says why not.
    fn agree(&self, offer: &Offer, now: Instant) -> Result<(), String> {
        let lists = |newcomer: &Newcomer| offer.founders.iter().any(|founder| founder.nonce == newcomer.nonce);
        if !lists(&self.us) || offer.founders.len() != self.us.expect as usize {
            return Err(format!("'{}' expects {} founders, itself among them", self.us.peer.name, self.us.expect));
        }
        if let Some(stranger) = self.seen(now).into_iter().find(|seen| seen.expect == self.us.expect && !lists(seen)) {
            return Err(format!("'{}' is new as well and is not among the founders", stranger.peer.name));
        }
        let mut state = self.lock();
        match &state.agreed {
            _ if state.member.is_some() => Err("this node belongs to a cluster".to_owned()),
            Some((bound, until)) if now < *until && bound != offer => {
                Err("this node is bound to another offer for some seconds".to_owned())
            }
            _ => {
                state.agreed = Some((offer.clone(), now + OFFER_LIFETIME));
                Ok(())
            }
        }
    }

    /// Answers one question.
    pub(crate) async fn handle(&self, hub: &Hub, request: DiscoverRequest) -> DiscoverReply {
        match request {
            DiscoverRequest::Describe(newcomer) => {
                let member = self.lock().member.clone();
                match member {
                    Some(member) => describe_member(hub, &member),
                    None => {
                        let now = Instant::now();
                        self.note_seen(newcomer, now);
                        let known = self.seen(now).into_iter().map(|seen| seen.peer.peer_addr).collect();
                        DiscoverReply::Newcomer { newcomer: self.us.clone(), known }
                    }
                }
            }
            DiscoverRequest::Prepare(offer) => match self.agree(&offer, Instant::now()) {
                Ok(()) => DiscoverReply::Agreed,
                Err(why) => DiscoverReply::Declined(why),
            },
            DiscoverRequest::Commit(offer) => self.commit(offer).await,
            DiscoverRequest::Join(newcomer) => match hub.core.load_full() {
                Some(core) => core.join(&newcomer).await,
                None => DiscoverReply::NotLeading { leader: None },
            },
        }
    }

    async fn commit(&self, offer: Offer) -> DiscoverReply {
        if let Some(member) = &self.lock().member {
            let is_same = member.cluster == offer.cluster;
            return if is_same { DiscoverReply::Agreed } else { DiscoverReply::Declined("too late".to_owned()) };
        }
        if let Err(why) = self.agree(&offer, Instant::now()) {
            return DiscoverReply::Declined(why);
        }
        let (done, written) = oneshot::channel();
        let told = self.committed.try_send((offer, done)).is_ok();
        match timeout(ASK_TIMEOUT, written).await {
            Ok(Ok(())) if told => DiscoverReply::Agreed,
            _ => DiscoverReply::Declined("not written down yet".to_owned()),
        }
    }
}

fn describe_member(hub: &Hub, member: &Member) -> DiscoverReply {
    let (leader, members) = match hub.core.load_full() {
        Some(core) => {
            let status = core.status();
            let address = |node| status.member(node).map(|peer| peer.peer_addr.clone());
            let members = status.voters.values().chain(status.learners.values());
            (status.leader.and_then(address), members.map(|peer| peer.peer_addr.clone()).collect())
        }
        None => (None, Vec::new()),
    };
    DiscoverReply::Member { cluster: member.cluster, leader, founders: member.founders.clone(), members }
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("no answer")]
    NoAnswer,
}

/// Asks whoever listens at `address`.
async fn ask(hub: &Hub, address: &str, request: &DiscoverRequest) -> Result<DiscoverReply, AskError> {
    let patience = if matches!(request, DiscoverRequest::Join(_)) { JOIN_TIMEOUT } else { ASK_TIMEOUT };
    let mut frames = dial::stranger(hub, address).await?;
    let asked = timeout(patience, exchange_frame(&mut frames, Kind::DiscoverRequest, request)).await;
    let bytes = asked.map_err(|_| AskError::NoAnswer)?.ok_or(AskError::NoAnswer)?;
    let (_, reply) = split_frame(&bytes).ok_or(AskError::NoAnswer)?;
    codec::decode(Kind::DiscoverReply, reply).map_err(|_| AskError::NoAnswer)
}

/// Tells the other founders that the cluster is founded, until each has written it down.
pub(crate) async fn call_founders(hub: Arc<Hub>, member: Member) {
    let offer = Offer { cluster: member.cluster, founders: member.founders.clone() };
    let mut left: Vec<&Founder> = member.founders.iter().filter(|founder| founder.node != member.node).collect();
    let mut complained = false;
    while !left.is_empty() {
        let mut missing = Vec::new();
        for founder in left {
            match ask(&hub, &founder.peer.peer_addr, &DiscoverRequest::Commit(offer.clone())).await {
                Ok(DiscoverReply::Agreed) => {}
                Ok(DiscoverReply::Declined(why)) => {
                    if !complained {
                        complained = true;
                        warn!(peer.id = %founder.node, "founder '{}' declines: {why}", founder.peer.name);
                    }
                    missing.push(founder);
                }
                Ok(_) | Err(_) => missing.push(founder),
            }
        }
        left = missing;
        if !left.is_empty() {
            sleep(CALL_PAUSE).await;
        }
        // Once the membership is committed with a leader the others have started, or were replaced meanwhile.
        if let Some(core) = hub.core.load_full() {
            left.retain(|founder| core.member(founder.node).is_some() || !core.is_leader());
        }
    }
}

#[cfg(test)]
mod tests;
