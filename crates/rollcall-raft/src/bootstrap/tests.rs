//! Who agrees to what, without a network.

use rollcall_types::{ClusterId, NodeId};

use super::*;
use crate::types::PeerNode;

fn newcomer(name: &str, nonce: u128, expect: u32) -> Newcomer {
    let peer = PeerNode {
        name: NodeName::try_from(name).unwrap(),
        peer_addr: format!("{name}:1"),
        http_addr: format!("{name}:2"),
        gossip_addr: String::new(),
        zone: None,
        observer: false,
    };
    Newcomer { nonce, peer, expect }
}

fn offer(cluster: u128, founders: &[&Newcomer]) -> Offer {
    let founders = founders.iter().zip(1..).map(|(newcomer, id)| Founder {
        node: NodeId::new(id),
        nonce: newcomer.nonce,
        peer: newcomer.peer.clone(),
    });
    Offer { cluster: ClusterId::new(cluster), founders: founders.collect() }
}

struct Trio {
    a: Newcomer,
    b: Newcomer,
    c: Newcomer,
}

fn trio() -> Trio {
    Trio { a: newcomer("a", 1, 3), b: newcomer("b", 2, 3), c: newcomer("c", 3, 3) }
}

#[tokio::test]
async fn a_node_agrees_to_one_offer_at_a_time() {
    let Trio { a, b, c } = trio();
    let (discovery, _offers) = Discovery::new(b.clone(), None);
    let now = Instant::now();
    let (first, second) = (offer(1, &[&a, &b, &c]), offer(2, &[&a, &b, &c]));
    discovery.agree(&first, now).unwrap();
    discovery.agree(&first, now).unwrap();
    assert!(discovery.agree(&second, now).is_err());
    assert_eq!(discovery.agreed(now), Some(first));
    let later = now + OFFER_LIFETIME;
    assert_eq!(discovery.agreed(later), None);
    discovery.agree(&second, later).unwrap();
}

#[tokio::test]
async fn an_offer_without_this_node_or_of_another_size_is_declined() {
    let Trio { a, b, c } = trio();
    let (discovery, _offers) = Discovery::new(b.clone(), None);
    assert!(discovery.agree(&offer(1, &[&a, &c]), Instant::now()).is_err());
    assert!(discovery.agree(&offer(1, &[&a, &b]), Instant::now()).is_err());
    let namesake = newcomer("b", 77, 3);
    assert!(discovery.agree(&offer(1, &[&a, &namesake, &c]), Instant::now()).is_err());
}

#[tokio::test]
async fn an_offer_that_leaves_out_a_new_node_is_declined_while_that_is_there() {
    let Trio { a, b, c } = trio();
    let (discovery, _offers) = Discovery::new(b.clone(), None);
    let now = Instant::now();
    discovery.note_seen(newcomer("d", 4, 3), now);
    assert!(discovery.agree(&offer(1, &[&a, &b, &c]), now).is_err());
    discovery.agree(&offer(1, &[&a, &b, &c]), now + SIGHT_LIFETIME).unwrap();
    // One that only joins is no founder.
    discovery.note_seen(newcomer("e", 5, 0), now + SIGHT_LIFETIME);
    discovery.agree(&offer(1, &[&a, &b, &c]), now + SIGHT_LIFETIME).unwrap();
}

#[tokio::test]
async fn a_member_agrees_to_nothing() {
    let Trio { a, b, c } = trio();
    let offer = offer(1, &[&a, &b, &c]);
    let member = Member {
        cluster: ClusterId::new(9),
        node: NodeId::new(2),
        founders: offer.founders.clone(),
        initializer: false,
    };
    let (discovery, _offers) = Discovery::new(b, Some(&member));
    assert!(discovery.agree(&offer, Instant::now()).is_err());
    assert!(matches!(discovery.commit(offer).await, DiscoverReply::Declined(_)));
}

#[tokio::test]
async fn a_commit_is_agreed_to_only_once_it_is_written_down() {
    let Trio { a, b, c } = trio();
    let offer = offer(1, &[&a, &b, &c]);
    let (discovery, mut offers) = Discovery::new(b.clone(), None);
    let (reply, ()) = tokio::join!(discovery.commit(offer.clone()), async {
        let (committed, done) = offers.recv().await.unwrap();
        assert_eq!(committed, offer);
        done.send(()).unwrap();
    });
    assert_eq!(reply, DiscoverReply::Agreed);
    let (discovery, offers) = Discovery::new(b, None);
    drop(offers);
    assert!(matches!(discovery.commit(offer).await, DiscoverReply::Declined(_)));
}
